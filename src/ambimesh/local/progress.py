"""What a person is told while something takes its time."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SLOW_SECONDS = 2.0

Report = Callable[[str], None]


class Progress:
    """Tells of steps: each when it is done, and a slow one again and again meanwhile."""

    def __init__(self, report: Report, *, slow_seconds: float = SLOW_SECONDS) -> None:
        self._report = report
        self._slow_seconds = slow_seconds

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Name what is done in this block; use it in a running event loop."""
        began = time.monotonic()
        loop = asyncio.get_running_loop()

        def still() -> None:
            nonlocal timer
            self._report(f"{text} ... {time.monotonic() - began:.0f} s")
            timer = loop.call_later(self._slow_seconds, still)

        timer = loop.call_later(self._slow_seconds, still)
        try:
            yield
        finally:
            timer.cancel()
        self._report(f"{text}: done in {time.monotonic() - began:.1f} s")

    def note(self, text: str) -> None:
        """Tell something at once."""
        self._report(text)
