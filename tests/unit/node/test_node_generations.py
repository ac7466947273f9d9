"""Generations of the node proxy, on a clock that tests turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ambimesh.node.generations import (
    FIRST_BACKOFF_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    STEADY_SECONDS,
    Generations,
    RunningProxy,
)


class FakeProcesses:
    """Processes that start when told to and end when a test says so; pid is 100 + number."""

    def __init__(self, *running: int) -> None:
        self.alive = {number: proxy(number) for number in running}
        self.failures = 0  # so many starts fail
        self.started: asyncio.Queue[int] = asyncio.Queue()
        self._ended: asyncio.Queue[int] = asyncio.Queue()

    async def running(self) -> tuple[RunningProxy, ...]:
        return tuple(self.alive.values())

    async def start(self, generation: int) -> RunningProxy:
        if self.failures:
            self.failures -= 1
            raise OSError("no such program")
        assert generation not in self.alive
        self.alive[generation] = proxy(generation)
        self.started.put_nowait(generation)
        return self.alive[generation]

    async def ended(self) -> AsyncIterator[int]:
        while True:
            yield await self._ended.get()

    def end(self, generation: int) -> None:
        self.alive.pop(generation, None)
        self._ended.put_nowait(generation)

    async def next_start(self) -> int:
        async with asyncio.timeout(5):
            return await self.started.get()


def proxy(number: int) -> RunningProxy:
    """Give the process of a generation."""
    return RunningProxy(generation=number, pid=100 + number)


class Rig:
    """Generations over fakes, with what was retired and how long was waited."""

    def __init__(self, processes: FakeProcesses) -> None:
        self.processes = processes
        self.retired: list[int] = []
        self.pauses: list[float] = []
        self.now = 0.0
        self.generations = Generations(
            processes, retire=self._retire, clock=lambda: self.now, sleep=self._sleep
        )

    async def _retire(self, pid: int) -> None:
        self.retired.append(pid)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@asynccontextmanager
async def running(*alive: int, failures: int = 0) -> AsyncIterator[Rig]:
    """Run generations; ``alive`` are those of an earlier agent."""
    rig = Rig(FakeProcesses(*alive))
    rig.processes.failures = failures
    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(rig.generations.run(started=started.set))
        await started.wait()
        yield rig
        task.cancel()


async def test_first_run_starts_one() -> None:
    """Where nothing runs, generation 1 is started."""
    async with running() as rig:
        assert await rig.processes.next_start() == 1


async def test_replace_retires_the_old_one_only_when_the_new_one_accepts() -> None:
    """Until the new generation has every pod, the old one goes on accepting."""
    async with running() as rig:
        await rig.processes.next_start()
        await rig.generations.accepting(101)
        rig.generations.replace()
        assert await rig.processes.next_start() == 2
        assert rig.retired == []

        await rig.generations.accepting(102)

        assert rig.retired == [101]


async def test_crash_is_followed_by_the_next_number_after_a_pause_that_doubles() -> None:
    """A number is never used twice; the pause grows while generations die young."""
    async with running() as rig:
        for number in range(1, 12):
            assert await rig.processes.next_start() == number
            rig.processes.end(number)
        await rig.processes.next_start()

        assert rig.pauses[:3] == [FIRST_BACKOFF_SECONDS * factor for factor in (1, 2, 4)]
        assert rig.pauses[-1] == LONGEST_BACKOFF_SECONDS


async def test_steady_generation_starts_the_pauses_anew() -> None:
    """A crash after a long life is answered at once."""
    async with running() as rig:
        for number in (1, 2, 3):
            await rig.processes.next_start()
            rig.processes.end(number)
        await rig.processes.next_start()
        rig.now += STEADY_SECONDS
        rig.processes.end(4)
        await rig.processes.next_start()

        assert rig.pauses[-1] == FIRST_BACKOFF_SECONDS


async def test_successor_of_a_crashed_generation_is_not_taken_for_an_old_one() -> None:
    """The newest that has accepted may be dead; who follows it is newer."""
    async with running(5) as rig:
        await rig.generations.accepting(105)
        rig.processes.end(5)
        assert await rig.processes.next_start() == 6

        await rig.generations.accepting(106)

        assert rig.retired == []


async def test_running_generations_are_taken_over() -> None:
    """A new agent starts nothing beside what an earlier one left."""
    async with running(3) as rig:
        assert rig.generations.newest == proxy(3)
        rig.processes.end(3)
        assert await rig.processes.next_start() == 4


async def test_older_one_that_connects_last_retires_itself() -> None:
    """After a restart of the agent the order of connections says nothing about age."""
    async with running(3, 4) as rig:
        await rig.generations.accepting(104)
        assert rig.retired == [103]

        await rig.generations.accepting(103)

        assert rig.retired == [103, 103]


async def test_end_of_a_retired_generation_starts_nothing() -> None:
    """It has drained; the newer one accepts."""
    async with running(3, 4) as rig:
        rig.processes.end(3)
        rig.processes.end(4)
        assert await rig.processes.next_start() == 5
        assert rig.processes.started.empty()


async def test_failed_start_is_tried_again() -> None:
    """A start that fails is repeated after a pause."""
    async with running(failures=2) as rig:
        assert await rig.processes.next_start() == 3
        assert len(rig.pauses) == 2
