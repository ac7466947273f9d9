"""Keeps one component running: starts it, waits until it is ready, starts it again."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Never

import structlog

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.local.components import Component
from ambimesh.local.exit_board import ExitBoard
from ambimesh.local.init.client import InitClient, InitRefusedError
from ambimesh.local.init.protocol import Exit, Spawn
from ambimesh.local.log_tail import cause_of_end, size_of, wait_line
from ambimesh.local.machine import OWNER

_READY = b"READY"
_FIRST_BACKOFF_SECONDS = 0.2
_LONGEST_BACKOFF_SECONDS = 10.0
_STEADY_SECONDS = 30.0  # after so long a life, the next restart is quick again
_LOG_TURN_BYTES = 32 << 20  # then the log of the life before goes aside

log = structlog.get_logger("supervisor")

State = Literal["starting", "ready", "restarting", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How one component is."""

    name: str
    place: str
    state: State = "starting"
    pid: int = 0  # in the process namespace of its place
    restarts: int = 0
    since: float = 0.0  # of this state, seconds since the epoch
    last_exit: str = ""  # how it ended last


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where a component lives."""

    init: InitClient
    board: ExitBoard
    log_file: Path
    env: Mapping[str, str]
    descriptors: Sequence[int] = ()  # those it inherits, as 3 and up


class Keeper:
    """Owns one component."""

    def __init__(
        self, component: Component, place: Surroundings, *, changed: Callable[[], None]
    ) -> None:
        """``changed`` is called whenever ``status`` is another."""
        self.component = component
        self._place = place
        self._changed = changed
        self._status = Status(name=component.name, place=component.place, since=time.time())

    @property
    def status(self) -> Status:
        """How the component is now."""
        return self._status

    async def start(self) -> None:
        """Start the component for the first time and wait until it is ready.

        Errors: ``EnvironmentFaultError`` when it ends or is not ready in time.
        """
        try:
            await self._start_once()
        except (_EndedError, TimeoutError, InitRefusedError) as error:
            outcome = (
                f"was not ready within {self.component.ready_seconds:g} seconds"
                if isinstance(error, TimeoutError)
                else "ended before it was ready"
            )
            path = self._place.log_file
            cause = str(error) if isinstance(error, InitRefusedError) else cause_of_end(path)
            problem = catalogue.COMPONENT_NOT_READY.problem(
                cause=cause, component=f"part {self.component.name}", outcome=outcome, log=path
            )
            raise EnvironmentFaultError(problem) from error

    async def keep(self) -> Never:
        """Start it again whenever it ends, ever more slowly; until cancelled.

        Errors: ``InitLostError`` at the end of its place.
        """
        backoff = _FIRST_BACKOFF_SECONDS
        while True:
            if self._status.state == "ready":
                ended = await self._place.board.take(self.component.key)
                if ended.finished_at - ended.started_at > _STEADY_SECONDS:
                    backoff = _FIRST_BACKOFF_SECONDS
                self._note_end(ended)
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, _LONGEST_BACKOFF_SECONDS)
            with suppress(_EndedError, TimeoutError, InitRefusedError):
                await self._start_once()

    async def stop(self, seconds: float) -> None:
        """Ask the component to end, and wait up to ``seconds`` for it."""
        with suppress(InitRefusedError):  # it has ended by itself
            await self._place.init.signal(self.component.key, signal.SIGTERM, leader_only=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._place.board.take(self.component.key)
        self._become(state="stopped", pid=0)

    async def _start_once(self) -> None:
        place = self._place
        _turn_log(place.log_file)
        before = size_of(place.log_file)
        count = len(place.descriptors)
        spawn = Spawn(
            key=self.component.key,
            owner=OWNER,
            argv=self.component.argv,
            env={**place.env, **self.component.env},
            log=str(place.log_file),
            descriptors=tuple(range(3, 3 + count)),
        )
        pid = await place.init.spawn(spawn, place.descriptors)
        self._become(state=self._status.state, pid=pid)
        try:
            async with asyncio.timeout(self.component.ready_seconds):
                await self._wait_ready(before)
        except TimeoutError:
            with suppress(InitRefusedError):  # it has ended just now
                await place.init.signal(self.component.key, signal.SIGKILL)
            self._note_end(await place.board.take(self.component.key))
            raise
        self._become(state="ready")

    async def _wait_ready(self, before: int) -> None:
        """Wait for the READY line, or raise ``_EndedError`` when the component ends first."""
        async with asyncio.TaskGroup() as tasks:
            ready = tasks.create_task(wait_line(self._place.log_file, _READY, after=before))
            ended = tasks.create_task(self._place.board.wait(self.component.key))
            await asyncio.wait((ready, ended), return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            ended.cancel()
        if ended.cancelled():
            return
        self._note_end(await self._place.board.take(self.component.key))
        raise _EndedError

    def _note_end(self, ended: Exit) -> None:
        words = f"signal {ended.signal}" if ended.signal else f"code {ended.code}"
        log.warning("component ended", component=self.component.name, how=words)
        self._become(state="restarting", pid=0, restarts=self._status.restarts + 1, last_exit=words)

    def _become(self, **change: object) -> None:
        since = time.time() if change.get("state") != self._status.state else self._status.since
        self._status = replace(self._status, since=since, **change)  # type: ignore[arg-type]  # fields of Status
        self._changed()


class _EndedError(Exception):
    """The component ended before it was ready."""


def _turn_log(path: Path) -> None:
    """Put a log that has grown large aside, over the one before."""
    if size_of(path) > _LOG_TURN_BYTES:
        with suppress(OSError):  # a log too large is better than a component that stays down
            os.replace(path, path.with_suffix(".log.1"))  # noqa: PTH105
