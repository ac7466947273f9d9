"""How fast streams may open, so that a reconnect storm does not starve those that are served."""

import asyncio
from collections.abc import Callable


class Admission:
    """A token bucket with one token: callers wait for their turn, in order.

    Args:
        per_second: How many may pass a second.
        clock: Seconds that only grow.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float]) -> None:
        self._interval = 1.0 / per_second
        self._clock = clock
        self._next = 0.0

    async def wait(self) -> None:
        """Wait for the caller's turn. Cancellation: the turn is lost, nothing else."""
        now = self._clock()
        turn = max(now, self._next)
        self._next = turn + self._interval
        if turn > now:
            await asyncio.sleep(turn - now)
