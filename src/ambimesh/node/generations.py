"""Generations of the node proxy: one that accepts, and older ones that drain.

A generation is never restarted in place. A new one takes the same listeners over ZDS; only when
it says that it accepts is the old one told to retire. A generation that dies is followed by the
next; meanwhile connections wait in the listeners' queues.

Source: design D7.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

log = structlog.get_logger("generations")

FIRST_BACKOFF_SECONDS = 0.1
LONGEST_BACKOFF_SECONDS = 15.0
STEADY_SECONDS = 60.0  # a generation that lived that long starts the backoff anew


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProxy:
    """A node proxy process; ``pid`` in the node's process namespace."""

    generation: int
    pid: int


class ProxyProcesses(Protocol):
    """Where node proxies run: as children of something that outlives the agent."""

    async def running(self) -> tuple[RunningProxy, ...]:
        """List those that run, oldest first."""

    async def start(self, generation: int) -> RunningProxy:
        """Start a generation. Errors: ``OSError`` with what is missing."""

    def ended(self) -> AsyncIterator[int]:
        """Yield each generation that has ended, also those that did while nobody listened."""


class Generations:
    """Keeps one generation accepting; retires it when a newer one has taken over."""

    def __init__(
        self,
        processes: ProxyProcesses,
        *,
        retire: Callable[[int], Awaitable[None]],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._processes = processes
        self._retire = retire  # asks the proxy of a pid to drain and end
        self._clock = clock
        self._sleep = sleep
        self._alive: dict[int, RunningProxy] = {}
        self._wanted = asyncio.Event()
        self._backoff_seconds = FIRST_BACKOFF_SECONDS
        self._started_at = 0.0
        self._last = 0  # the highest number given; none is used twice
        self._accepted = 0  # the newest generation that has said that it accepts

    @property
    def newest(self) -> RunningProxy | None:
        """The generation that accepts, or is about to; ``None`` between two."""
        return self._alive[max(self._alive)] if self._alive else None

    async def run(self, *, started: Callable[[], None]) -> None:
        """Take over what runs, start one if nothing does, and replace what ends."""
        self._alive = {p.generation: p for p in await self._processes.running()}
        self._last = max(self._alive, default=0)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._watch(), name="ends of generations")
            if not self._alive:
                self._wanted.set()
            started()
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                await self._start()

    def replace(self) -> None:
        """Start a new generation beside the one that accepts, for an upgrade."""
        self._wanted.set()

    async def accepting(self, pid: int) -> None:
        """Hear that a proxy has every pod; all older generations may retire now.

        That may be itself: after a restart of the agent the older one may connect last.
        """
        current = next((p for p in self._alive.values() if p.pid == pid), None)
        if current is None:
            return
        self._accepted = max(self._accepted, current.generation)
        for older in [p for p in self._alive.values() if p.generation < self._accepted]:
            log.info("generation retires", generation=older.generation, pid=older.pid)
            await self._retire(older.pid)

    async def _watch(self) -> None:
        async for generation in self._processes.ended():
            newest = self.newest
            self._alive.pop(generation, None)
            if newest is not None and newest.generation == generation:
                log.error("node proxy ended", generation=generation, pid=newest.pid)
                await self._pace()
                self._wanted.set()
            else:
                log.info("retired generation ended", generation=generation)

    async def _pace(self) -> None:
        """Wait before the next start, longer each time, unless the last one was steady."""
        if self._clock() - self._started_at >= STEADY_SECONDS:
            self._backoff_seconds = FIRST_BACKOFF_SECONDS
        await self._sleep(self._backoff_seconds)
        self._backoff_seconds = min(self._backoff_seconds * 2, LONGEST_BACKOFF_SECONDS)

    async def _start(self) -> None:
        self._last = generation = self._last + 1
        self._started_at = self._clock()
        try:
            proxy = await self._processes.start(generation)
        except OSError as error:
            log.error("node proxy not started", generation=generation, reason=str(error))
            await self._pace()
            self._wanted.set()
            return
        self._alive[generation] = proxy
        log.info("node proxy started", generation=generation, pid=proxy.pid)
