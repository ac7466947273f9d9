"""One pod from its sandbox to its end, on a fake API server and a fake init."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ambimesh.kube.core import Container, Pod, PodSpec
from ambimesh.kube.meta import Metadata
from ambimesh.local import addresses, podnet
from ambimesh.local.init.protocol import Failure
from ambimesh.local.pods import pod_worker
from ambimesh.local.pods.plan import PodPlace
from ambimesh.local.pods.pod_worker import NodeParts, PodWorker
from ambimesh.node.capture import CaptureError
from support.fake_init import FakeInit, board, refused
from support.kube import FakeApi, connect


class SandboxInit(FakeInit):
    """An init that has sandboxes as well: /dev/null stands for each."""

    made: set[str]

    def __post_init__(self) -> None:
        super().__post_init__()
        self.made = set()

    async def create_sandbox(self, key: str, _sysctls: Mapping[str, str]) -> int:
        """Make a sandbox."""
        if key in self.made:
            raise refused(Failure.EXISTS)
        self.made.add(key)
        return os.open(os.devnull, os.O_RDONLY)

    async def open_sandbox(self, _key: str) -> int:
        """Open a sandbox."""
        return os.open(os.devnull, os.O_RDONLY)

    async def delete_sandbox(self, key: str) -> None:
        """Delete a sandbox."""
        self.made.discard(key)


class FakeHook:
    """An agent that refuses as often as a test says."""

    def __init__(self) -> None:
        self.refusals = 0
        self.log: list[str] = []

    async def prepare(self, pod: Pod) -> None:
        """Capture."""
        if self.refusals:
            self.refusals -= 1
            raise CaptureError("no node proxy is connected")
        self.log.append(f"prepare {pod.metadata.name}")

    async def ended(self, uid: str) -> None:
        """Forget."""
        self.log.append(f"ended {uid}")


class Rig:
    """A worker and what is around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.api = FakeApi()
        self.init = SandboxInit(deaf=set())
        self.hook = FakeHook()
        self.network: list[str] = []  # what was done to the node's network
        self.faults = 0  # so many attachments fail

    def attach(self, network: podnet.PodNetwork, _sandbox: int) -> None:
        """Attach, or fail."""
        if self.faults:
            self.faults -= 1
            raise OSError(16, "busy")
        self.network.append(f"attach {network.uid}")

    @asynccontextmanager
    async def running(self, pod: Pod) -> AsyncIterator[PodWorker]:
        """Run a worker of ``pod`` for the length of the block."""
        self.api.put(pod)
        cluster = await connect(self.api, self.folder)
        async with board(self.init) as exits:
            parts = NodeParts(
                cluster=cluster, init=self.init.client, exits=exits, hook=self.hook,
                number=1,
            )  # fmt: skip
            place = PodPlace(
                folder=self.folder, own=addresses.pod(1, 10), nameserver=addresses.gateway(1),
                rootless_uid=None,
            )  # fmt: skip
            worker = PodWorker(parts, pod, place, host=10)
            async with asyncio.TaskGroup() as tasks:
                self.task = tasks.create_task(worker.run({}))
                try:
                    yield worker
                finally:
                    self.task.cancel()
            if worker.sandbox >= 0:
                os.close(worker.sandbox)
        await cluster.close()

    def status(self) -> dict[str, Any]:
        """Give the status that is written."""
        found: dict[str, Any] = (self.api.stored(pod()) or {}).get("status", {})
        return found

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> None:
        """Wait until the status is so."""
        await self.api.wait_for(lambda: holds(self.status()))


def pod(*containers: Container, inits: tuple[Container, ...] = (), policy: str = "Always") -> Pod:
    """Make the pod demo/web."""
    app = Container(name="app", command=("app",))
    return Pod(
        metadata=Metadata(name="web", namespace="demo", uid="uid-web"),
        spec=PodSpec(
            node_name="node-1", containers=containers or (app,), init_containers=inits,
            restart_policy=policy, termination_grace_period_seconds=1,
        ),
    )  # fmt: skip


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A worker without pauses, on a node whose network is a list."""
    made = Rig(tmp_path)
    monkeypatch.setattr(pod_worker, "RETRY_SECONDS", 0.001)
    monkeypatch.setattr(pod_worker, "SETTLE_SECONDS", 0.001)
    monkeypatch.setattr(podnet, "attach", made.attach)
    monkeypatch.setattr(podnet, "detach", lambda uid: made.network.append(f"detach {uid}"))
    return made


def is_running(status: dict[str, Any]) -> bool:
    """Whether the pod is shown as running."""
    return status.get("phase") == "Running"


async def test_pod_gets_sandbox_network_and_capture_before_its_program(rig: Rig) -> None:
    """Then its program starts, and its status and addresses are written."""
    async with rig.running(pod()):
        await rig.until(is_running)

        assert rig.init.made == {"uid-web"}
        assert rig.network == ["attach uid-web"]
        assert rig.hook.log == ["prepare web"]
        assert rig.status()["podIP"] == "198.18.1.10"
        assert (rig.folder / "resolv.conf").exists()
        assert (rig.folder / "serviceaccount" / "token").read_text() == "made"


async def test_network_that_could_not_be_made_is_made_again(rig: Rig) -> None:
    """A sandbox without its network is never taken for one that has it."""
    rig.faults = 2
    async with rig.running(pod()):
        await rig.until(is_running)
        assert rig.network == ["attach uid-web"]


async def test_pod_does_not_start_until_it_is_captured(rig: Rig) -> None:
    """Otherwise its first connections would go out in plaintext."""
    rig.hook.refusals = 3
    async with rig.running(pod()):
        await rig.until(lambda s: "no node proxy" in (s.get("message") or ""))
        assert rig.status()["phase"] == "Pending"
        await rig.until(is_running)
        assert rig.status().get("message") is None


async def test_init_containers_run_one_after_another_before_the_others(rig: Rig) -> None:
    """The next starts when the one before has succeeded."""
    inits = tuple(Container(name=name, command=(name,)) for name in ("first", "second"))
    rig.init.exit_codes = {"first": 0, "second": 0}
    async with rig.running(pod(inits=inits)):
        await rig.until(is_running)
        assert [spawn.argv[0] for spawn in rig.init.spawned] == ["first", "second", "app"]


async def test_failed_init_container_fails_the_pod(rig: Rig) -> None:
    """With restart policy Never nothing else starts."""
    rig.init.exit_codes = {"first": 1}
    made = pod(inits=(Container(name="first", command=("first",)),), policy="Never")
    async with rig.running(made):
        await rig.until(lambda status: status.get("phase") == "Failed")
        assert len(rig.init.spawned) == 1


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (4, "Failed")])
async def test_pod_whose_programs_have_ended_is_over(rig: Rig, code: int, phase: str) -> None:
    """Its status says how, and is the last that is written."""
    rig.init.exit_codes = {"app": code}
    async with rig.running(pod(policy="Never")):
        await rig.until(lambda status: status.get("phase") == phase)


async def test_pod_that_cannot_run_here_says_why(rig: Rig) -> None:
    """Without a command there is no program; no sandbox is made for it."""
    async with rig.running(pod(Container(name="app", image="nginx"))):
        await rig.until(lambda status: status.get("phase") == "Failed")
        assert "container app has no command" in rig.status()["message"]
        assert rig.init.made == set()


async def test_refused_status_is_written_again(rig: Rig) -> None:
    """An API server that fails once does not leave a wrong status behind."""
    rig.api.refuse(500, when=lambda request: request.method == "PATCH")
    async with rig.running(pod()):
        await rig.until(is_running)


async def test_end_stops_programs_and_lets_the_object_go(rig: Rig) -> None:
    """Program, capture, sandbox, network, object: in this order, and none is left."""
    async with rig.running(pod()) as worker:
        await rig.until(is_running)
        rig.task.cancel()  # as the runtime does
        await asyncio.wait([rig.task])

        await worker.end()

        assert [number for _, number in rig.init.signals] == [15]
        assert rig.hook.log == ["prepare web", "ended uid-web"]
        assert rig.init.made == set()
        assert rig.network == ["attach uid-web", "detach uid-web"]
        assert rig.api.stored(pod()) is None
        assert worker.sandbox == -1
