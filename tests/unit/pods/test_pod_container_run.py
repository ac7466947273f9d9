"""One container: started, probed, started again, stopped; over a fake init."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ambimesh.kube.core import Container, ContainerStatus, ExecAction, Probe
from ambimesh.local.init.protocol import ProcessState, Spawn
from ambimesh.local.pods.container_run import ContainerPlan, ContainerRun
from ambimesh.local.pods.pod_status import ContainerView
from ambimesh.local.pods.probes import ProbeLoop
from ambimesh.local.pods.restart import Backoff
from support.fake_init import NO_PROGRAM, FakeInit, board

PROBE = Probe(exec=ExecAction(command=("check",)), period_seconds=1)


class Rig:
    """A container over a fake init."""

    def __init__(self, init: FakeInit, run: ContainerRun, tasks: asyncio.TaskGroup) -> None:
        self.init = init
        self.run = run
        self.tasks = tasks
        self.views: list[ContainerView] = []
        self.changed = asyncio.Event()

    def note(self) -> None:
        """Take a change of the view."""
        self.views.append(self.run.view)
        self.changed.set()

    async def until(self, holds: Callable[[ContainerView], bool]) -> None:
        """Wait until the view is so."""
        async with asyncio.timeout(5):
            while not holds(self.run.view):
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that ended starts again at once, and probes do not pause."""
    monkeypatch.setattr(Backoff, "after", lambda self, *, ran_seconds: Backoff(seconds=0.001))
    monkeypatch.setattr(
        ProbeLoop, "_pause", lambda _self, *, verdict: 0.001
    )  # fmt: skip


@asynccontextmanager
async def container(
    made: Container, *, policy: str = "Always", init: FakeInit | None = None,
    adopted: ProcessState | None = None, written: ContainerStatus | None = None,
) -> AsyncIterator[Rig]:  # fmt: skip
    """Run a container for the length of the block."""
    fake = init or FakeInit()
    rotated: list[None] = []
    rigs: list[Rig] = []
    plan = ContainerPlan(
        container=made, policy=policy,
        spawn=lambda n: Spawn(key=f"pod/u/{made.name}/{n}", owner="pods", argv=("app",)),
        rotate_log=lambda: rotated.append(None), sandbox=-1,
    )  # fmt: skip
    async with board(fake) as exits, asyncio.TaskGroup() as tasks:
        run = ContainerRun(fake.client, exits, plan, lambda: rigs[0].note())  # noqa: PLW0108  # made below
        rigs.append(Rig(fake, run, tasks))
        if adopted is not None:
            run.adopt(adopted, written)
        task = tasks.create_task(run.run())
        yield rigs[0]
        task.cancel()


APP = Container(name="app")
KEY = "pod/u/app/"


async def test_container_without_probes_is_ready_when_it_runs() -> None:
    """It is ready and started as soon as the process is there."""
    async with container(APP) as rig:
        await rig.until(lambda view: view.is_ready and view.has_started)
        assert rig.init.spawned[0].key == KEY + "0"


async def test_crash_is_followed_by_the_next_process() -> None:
    """A new key each time, the restart counted, the end kept for the last state."""
    async with container(APP) as rig:
        await rig.init.wait_spawned(1)
        rig.init.end(KEY + "0", 3)
        await rig.init.wait_spawned(2)
        await rig.until(lambda view: view.restarts == 1 and view.running_since is not None)

        assert rig.run.view.ending is not None
        assert rig.run.view.ending.exit_code == 3
        assert "CrashLoopBackOff" in [view.waiting for view in rig.views]
        assert rig.init.acknowledged == [KEY + "0"]


@pytest.mark.parametrize(("policy", "code"), [("Never", 1), ("OnFailure", 0)])
async def test_container_that_is_over_stays_so(policy: str, code: int) -> None:
    """It ends for good, with its code."""
    async with container(APP, policy=policy) as rig:
        await rig.init.wait_spawned(1)
        rig.init.end(KEY + "0", code)
        await rig.until(lambda view: view.is_over)

        assert not rig.run.view.is_ready
        assert len(rig.init.spawned) == 1


async def test_program_that_cannot_start_is_tried_again_or_fails() -> None:
    """Always tries again; Never is over with the shell's code for no such program."""
    async with container(APP, init=FakeInit(refusals=[NO_PROGRAM])) as rig:
        await rig.until(lambda view: view.is_ready)
        assert "RunContainerError" in [view.waiting for view in rig.views]
    async with container(APP, policy="Never", init=FakeInit(refusals=[NO_PROGRAM])) as rig:
        await rig.until(lambda view: view.is_over)
        assert rig.run.view.ending
        assert rig.run.view.ending.exit_code == 127


async def test_readiness_follows_its_probe() -> None:
    """Not ready until the probe says so, and not when it stops saying so."""
    init = FakeInit(exit_codes={"check": 0})
    async with container(Container(name="app", readiness_probe=PROBE), init=init) as rig:
        await rig.until(lambda view: view.is_ready)
        assert not rig.views[0].is_ready
        init.exit_codes["check"] = 1
        await rig.until(lambda view: not view.is_ready)


async def test_probe_whose_command_does_not_exist_is_unhealthy_and_nothing_else() -> None:
    """A typo in a manifest makes its container unready; the agent goes on."""
    init = FakeInit(refusals=[None, NO_PROGRAM], exit_codes={"check": 0})
    async with container(Container(name="app", readiness_probe=PROBE), init=init) as rig:
        await rig.until(lambda view: view.is_ready)
        assert rig.init.refusals == []


async def test_failed_liveness_ends_the_process_and_it_starts_again() -> None:
    """The whole group is killed after three failures in a row."""
    init = FakeInit(exit_codes={"check": 1})
    async with container(Container(name="app", liveness_probe=PROBE), init=init) as rig:
        assert await init.wait_signal(signal.SIGKILL) == KEY + "0"
        init.exit_codes["check"] = 0
        await rig.until(lambda view: view.restarts == 1)


async def test_nothing_else_is_asked_until_the_startup_probe_is_content() -> None:
    """A container that starts slowly is neither ready nor killed meanwhile."""
    init = FakeInit(exit_codes={"check": 1})
    made = Container(name="app", startup_probe=PROBE, liveness_probe=PROBE)
    async with container(made, init=init) as rig:
        await init.wait_spawned(6)
        assert not rig.run.view.has_started
        init.exit_codes["check"] = 0
        await rig.until(lambda view: view.has_started and view.is_ready)
        assert init.signals == []


def process(start: int) -> ProcessState:
    """Give a process that runs."""
    return ProcessState(key=f"{KEY}{start}", owner="pods", pid=7, sandbox="u", started_at=5.0)


def with_process(start: int) -> FakeInit:
    """Give an init in which an earlier agent's process runs."""
    return FakeInit(processes_by_key={f"{KEY}{start}": process(start)})


async def test_adopted_container_stays_ready() -> None:
    """A new agent starts nothing, counts on, and takes no endpoint away from clients."""
    written = ContainerStatus(name="app", ready=True, started=True, restart_count=2)
    init = with_process(2)
    init.exit_codes["check"] = 0
    made = Container(name="app", readiness_probe=PROBE, startup_probe=PROBE)
    async with container(made, init=init, adopted=process(2), written=written) as rig:
        await init.wait_spawned(2)
        assert all(view.is_ready for view in rig.views)
        assert rig.run.view.restarts == 2
        assert all("/probe/" in spawn.key for spawn in init.spawned)


async def test_adopted_container_that_was_not_ready_is_asked_again() -> None:
    """What was written about another run, or not at all, does not count."""
    written = ContainerStatus(name="app", ready=True, started=True, restart_count=1)
    init = with_process(2)
    async with container(APP, init=init, adopted=process(2), written=written) as rig:
        await rig.until(lambda view: view.is_ready and view.has_started)
        assert init.spawned == []


@pytest.mark.parametrize(
    ("deaf", "signals"),
    [(set(), [signal.SIGTERM]), ({signal.SIGTERM}, [signal.SIGTERM, signal.SIGKILL])],
)
async def test_stop_asks_first_and_kills_after_the_grace_period(
    deaf: set[int], signals: list[int]
) -> None:
    """A program that does not heed is ended all the same."""
    init = FakeInit(deaf=deaf)
    async with board(init) as exits:
        plan = ContainerPlan(
            container=APP, policy="Always", sandbox=-1, rotate_log=lambda: None,
            spawn=lambda n: Spawn(key=f"{KEY}{n}", owner="pods", argv=("app",)),
        )  # fmt: skip
        run = ContainerRun(init.client, exits, plan, lambda: None)
        await run._start()
        async with asyncio.timeout(5):
            await run.stop(grace_seconds=0.01)

        assert [number for _, number in init.signals] == signals
        assert init.processes_by_key == {}


async def test_stop_of_what_has_ended_meanwhile_does_not_wait() -> None:
    """The end may have been taken by who was cancelled just then."""
    init = FakeInit()
    async with board(init) as exits:
        plan = ContainerPlan(
            container=APP, policy="Always", sandbox=-1, rotate_log=lambda: None,
            spawn=lambda n: Spawn(key=f"{KEY}{n}", owner="pods", argv=("app",)),
        )  # fmt: skip
        run = ContainerRun(init.client, exits, plan, lambda: None)
        await run._start()
        init.end(KEY + "0")
        await exits.take(KEY + "0")
        async with asyncio.timeout(5):
            await run.stop(grace_seconds=60)
