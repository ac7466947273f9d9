"""One container of a pod: started, watched, probed, started again."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from ambimesh.kube.core import Container, ContainerStatus, Probe
from ambimesh.local.exit_board import ExitBoard
from ambimesh.local.init.client import InitClient, InitRefusedError
from ambimesh.local.init.protocol import Exit, Failure, ProcessState, Spawn
from ambimesh.local.pods.pod_status import ContainerView, Ending
from ambimesh.local.pods.probes import ProbeLoop, asker
from ambimesh.local.pods.restart import Backoff, starts_again

log = structlog.get_logger("pods")

NOT_STARTED_CODE = 127  # as shells say that there is no such program


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """What does not change while a pod lives."""

    container: Container
    policy: str  # when it is started again
    spawn: Callable[[int], Spawn]  # the n-th process of the container
    rotate_log: Callable[[], None]
    sandbox: int  # descriptor of the pod's network namespace


class ContainerRun:
    """Runs one container until it has ended for good or the task is cancelled."""

    def __init__(
        self, init: InitClient, exits: ExitBoard, plan: ContainerPlan, changed: Callable[[], None]
    ) -> None:
        self._init = init
        self._exits = exits
        self._plan = plan
        self._changed = changed
        self.view = ContainerView(name=plan.container.name, image=plan.container.image)
        self._backoff = Backoff()
        self._starts = 0
        self._probes = 0

    @property
    def key(self) -> str:
        """The init's key of the process that runs, or of the last one."""
        return self._plan.spawn(self._starts).key

    def adopt(self, running: ProcessState, written: ContainerStatus | None) -> None:
        """Take over a process that an earlier agent started, with what it wrote about it.

        A ready container stays ready until its probe says otherwise: its clients must not
        notice that an agent was replaced.
        """
        self._starts = int(running.key.rpartition("/")[2])
        known = written is not None and written.restart_count == self._starts
        self.view = self.view.with_changes(
            running_since=running.started_at,
            restarts=self._starts,
            waiting="",
            has_started=known and bool(written and written.started),
            is_ready=known and bool(written and written.ready),
        )

    async def run(self) -> None:
        """Start, wait, start again as the policy says. Returns when it has ended for good."""
        while True:
            if self.view.running_since is None and not await self._start():
                return
            exited = await self._watch()
            self._note_end(exited)
            ran_seconds = exited.finished_at - exited.started_at
            if not starts_again(self._plan.policy, exited.code):
                self._set(is_over=True, is_ready=False)
                return
            self._backoff = self._backoff.after(ran_seconds=ran_seconds)
            self._set(waiting="CrashLoopBackOff", message=self._backoff_text(exited))
            await asyncio.sleep(self._backoff.seconds)
            self._starts += 1
            self._plan.rotate_log()
            self._set(restarts=self._starts)

    async def stop(self, *, grace_seconds: float) -> None:
        """End the running process: asked first, killed after the grace period."""
        if self.view.running_since is None:
            return
        try:
            await self._init.signal(self.key, signal.SIGTERM, leader_only=True)
        except InitRefusedError:  # it has ended, and its end may have been taken already
            await self._init.acknowledge(self.key)
            self._set(running_since=None)
            return
        try:
            async with asyncio.timeout(grace_seconds):
                await self._exits.take(self.key)
        except TimeoutError:
            with suppress(InitRefusedError):
                await self._init.signal(self.key, signal.SIGKILL)
            await self._exits.take(self.key)
        self._set(running_since=None)

    async def _start(self) -> bool:
        """Start the next process; false when it can never be."""
        while True:
            try:
                await self._init.spawn(self._plan.spawn(self._starts))
            except InitRefusedError as error:
                if error.failure is not Failure.EXISTS:
                    log.warning("container not started", key=self.key, reason=str(error))
                    if not await self._retry(error):
                        return False
                    continue
            probed = self._plan.container.readiness_probe or self._plan.container.startup_probe
            self._set(
                running_since=time.time(), waiting="", message="",
                is_ready=probed is None, has_started=self._plan.container.startup_probe is None,
            )  # fmt: skip
            return True

    async def _retry(self, error: InitRefusedError) -> bool:
        """A command that cannot be started is tried again, like one that crashes."""
        if self._plan.policy == "Never":
            now = time.time()
            ending = Ending(
                exit_code=NOT_STARTED_CODE, signal=None, started_at=now, finished_at=now
            )
            self._set(ending=ending, is_over=True, waiting="StartError", message=str(error))
            return False
        self._backoff = self._backoff.after(ran_seconds=0)
        self._set(waiting="RunContainerError", message=str(error))
        await asyncio.sleep(self._backoff.seconds)
        return True

    async def _watch(self) -> Exit:
        """Wait for the end of the process, asking its probes meanwhile."""
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(self._ask_probes(), name=f"probes of {self.view.name}")
            exited = await self._exits.take(self.key)
            asking.cancel()
        return exited

    async def _ask_probes(self) -> None:
        container = self._plan.container
        if not self.view.has_started:
            if container.startup_probe is not None:
                await self._until_started(container.startup_probe)
            self._set(has_started=True, is_ready=container.readiness_probe is None)
        async with asyncio.TaskGroup() as tasks:
            if probe := container.readiness_probe:
                loop = ProbeLoop(probe, self._asker(probe), lambda ok: self._set(is_ready=ok))
                tasks.create_task(loop.run(verdict=self.view.is_ready), name="readiness")
            if probe := container.liveness_probe:
                dead = asyncio.Event()
                loop = ProbeLoop(probe, self._asker(probe), lambda ok: None if ok else dead.set())
                tasks.create_task(loop.run(verdict=True), name="liveness")
                tasks.create_task(self._kill_when(dead), name="liveness verdict")

    async def _until_started(self, probe: Probe) -> None:
        done = asyncio.Event()
        loop = ProbeLoop(probe, self._asker(probe), lambda ok: done.set() if ok else None)
        async with asyncio.TaskGroup() as tasks:
            asking = tasks.create_task(loop.run(verdict=False), name="startup")
            await done.wait()
            asking.cancel()

    async def _kill_when(self, dead: asyncio.Event) -> None:
        await dead.wait()
        log.warning("liveness probe failed; ending the container", key=self.key)
        with suppress(InitRefusedError):
            await self._init.signal(self.key, signal.SIGKILL)

    def _asker(self, probe: Probe) -> Callable[[], Awaitable[bool]]:
        return asker(probe, self._plan.container, self._plan.sandbox, self._run_probe)

    async def _run_probe(self, command: tuple[str, ...]) -> int:
        self._probes += 1
        spawn = self._plan.spawn(self._starts)
        key = f"{spawn.key}/probe/{self._probes}"
        try:
            await self._init.spawn(replace(spawn, key=key, argv=command, log=None))
        except InitRefusedError as error:
            if self._probes == 1:  # the next ones would say the same, each second
                log.warning("probe not started", key=key, reason=str(error))
            return NOT_STARTED_CODE
        try:
            return (await self._exits.take(key)).code
        except asyncio.CancelledError:
            with suppress(InitRefusedError):
                await self._init.signal(key, signal.SIGKILL)
            raise

    def _note_end(self, exited: Exit) -> None:
        ending = Ending(
            exit_code=exited.code,
            signal=exited.signal,
            started_at=exited.started_at,
            finished_at=exited.finished_at,
        )
        self._set(running_since=None, ending=ending, is_ready=False, has_started=False)

    def _backoff_text(self, exited: Exit) -> str:
        return f"ended with code {exited.code}; starts again in {self._backoff.seconds:g} s"

    def _set(self, **changes: object) -> None:
        fresh = self.view.with_changes(**changes)
        if fresh != self.view:
            self.view = fresh
            self._changed()
