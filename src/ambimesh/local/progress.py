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
        slow = _Repeated(self._slow_seconds, lambda: self._report(f"{text} ... {_since(began)}"))
        try:
            yield
        finally:
            slow.cancel()
        self._report(f"{text}: done in {_since(began)}")

    def note(self, text: str) -> None:
        """Tell something at once."""
        self._report(text)


class _Repeated:
    """Calls something again and again until cancelled."""

    def __init__(self, seconds: float, callback: Callable[[], None]) -> None:
        self._seconds = seconds
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self._call)

    def cancel(self) -> None:
        """Call no more."""
        self._timer.cancel()

    def _call(self) -> None:
        self._timer = self._loop.call_later(self._seconds, self._call)
        self._callback()


def _since(began: float) -> str:
    return f"{time.monotonic() - began:.1f} s"
