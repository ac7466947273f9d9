"""An init in this process: processes are words in a table, or real ones where a test wants them."""

import asyncio
import errno
import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from ambimesh.local.exit_board import ExitBoard
from ambimesh.local.init.client import InitClient, InitRefusedError
from ambimesh.local.init.protocol import Exit, Failure, ProcessState, Refused, Spawn


def refused(failure: Failure, stage: str = "", number: int = 0) -> InitRefusedError:
    """Make a refusal."""
    text = f"{stage}: {os.strerror(number)}" if number else str(failure)
    return InitRefusedError(Refused(id=1, failure=failure, text=text, stage=stage, errno=number))


NO_PROGRAM = refused(Failure.SYSTEM, "exec", errno.ENOENT)


@dataclass
class FakeInit:
    """What clients of an init see; ``client`` gives it the real client's type."""

    runs_programs: bool = False
    processes_by_key: dict[str, ProcessState] = field(default_factory=dict)
    spawned: list[Spawn] = field(default_factory=list)
    signals: list[tuple[str, int]] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    refusals: list[InitRefusedError | None] = field(default_factory=list)  # of the next spawns
    deaf: set[int] = field(default_factory=set)  # signals that programs do not heed
    exit_codes: dict[str, int] = field(default_factory=dict)  # of commands that end at once

    def __post_init__(self) -> None:
        self._changed = asyncio.Condition()
        self._exits: asyncio.Queue[Exit] = asyncio.Queue()
        self._popen: dict[str, subprocess.Popen[bytes]] = {}
        self._waiting: set[asyncio.Future[int]] = set()

    @property
    def client(self) -> InitClient:
        """The same as the type that code under test wants."""
        return cast("InitClient", self)

    # What tests do.

    async def wait_spawned(self, count: int) -> Spawn:
        """Wait for the ``count``-th spawn, counted from 1."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: len(self.spawned) >= count)
        return self.spawned[count - 1]

    async def wait_signal(self, number: int) -> str:
        """Wait until somebody was signalled so; give whom."""
        async with asyncio.timeout(5), self._changed:
            await self._changed.wait_for(lambda: number in [n for _, n in self.signals])
        return next(key for key, n in self.signals if n == number)

    def end(self, key: str, code: int = 0, number: int | None = None) -> None:
        """End a process."""
        state = self.processes_by_key[key]
        ended = Exit(
            key=key, owner=state.owner, pid=state.pid, code=code, signal=number,
            started_at=state.started_at, finished_at=time.time(),
        )  # fmt: skip
        self.processes_by_key[key] = ProcessState(
            key=key, owner=state.owner, pid=state.pid, sandbox=state.sandbox,
            started_at=state.started_at, exit=ended,
        )  # fmt: skip
        self._exits.put_nowait(ended)

    # What clients call.

    async def spawn(self, spawn: Spawn, descriptors: Sequence[int] = ()) -> int:
        """Start a process."""
        if self.refusals and (error := self.refusals.pop(0)):
            raise error
        if spawn.key in self.processes_by_key:
            raise refused(Failure.EXISTS)
        pid = 1000 + len(self.spawned)
        self.processes_by_key[spawn.key] = ProcessState(
            key=spawn.key, owner=spawn.owner, pid=pid, sandbox=spawn.sandbox,
            started_at=time.time(),
        )  # fmt: skip
        if self.runs_programs:
            self._run(spawn, dict(zip(spawn.descriptors, descriptors, strict=True)))
        async with self._changed:
            self.spawned.append(spawn)
            self._changed.notify_all()
        if spawn.argv and spawn.argv[0] in self.exit_codes:
            self.end(spawn.key, self.exit_codes[spawn.argv[0]])
        return pid

    async def signal(self, key: str, number: int, *, leader_only: bool = False) -> None:
        """Signal a process."""
        state = self.processes_by_key.get(key)
        if state is None or state.exit is not None:
            raise refused(Failure.NOT_FOUND)
        async with self._changed:
            self.signals.append((key, number))
            self._changed.notify_all()
        if key in self._popen:
            os.killpg(self._popen[key].pid, number)
        elif number not in self.deaf:
            self.end(key, 128 + number, number)

    async def acknowledge(self, key: str) -> None:
        """Forget an ended process."""
        self.acknowledged.append(key)
        self.processes_by_key.pop(key, None)

    async def processes(self, owner: str | None = None) -> tuple[ProcessState, ...]:
        """List processes."""
        return tuple(s for s in self.processes_by_key.values() if owner in {None, s.owner})

    async def exits(self, owner: str) -> AsyncGenerator[Exit, None]:
        """Yield exits."""
        while True:
            yield await self._exits.get()

    async def sandboxes(self) -> tuple[str, ...]:
        """List no sandbox."""
        return ()

    def _run(self, spawn: Spawn, descriptors: Mapping[int, int]) -> None:
        process = subprocess.Popen(
            spawn.argv,
            stdin=descriptors.get(0, subprocess.DEVNULL),
            stdout=descriptors.get(1, subprocess.DEVNULL),
            stderr=descriptors.get(2, subprocess.DEVNULL),
            start_new_session=True,
        )
        self._popen[spawn.key] = process
        loop = asyncio.get_running_loop()
        waiting = loop.run_in_executor(None, process.wait)
        self._waiting.add(waiting)
        waiting.add_done_callback(lambda done: self._ended(spawn.key, done))

    def _ended(self, key: str, done: asyncio.Future[int]) -> None:
        self._waiting.discard(done)
        code = done.result()
        self.end(key, code if code >= 0 else 128 - code, -code if code < 0 else None)

    def kill_all(self) -> None:
        """End every real program."""
        for process in self._popen.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


@asynccontextmanager
async def board(init: FakeInit, owner: str = "pods") -> AsyncIterator[ExitBoard]:
    """Give a board that follows a fake init's exits."""
    made = ExitBoard(init.client, owner)
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(made.run())
        try:
            yield made
        finally:
            init.kill_all()
            following.cancel()
