"""Which pods the runtime starts, leaves alone, and ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import Pod, PodSpec, PodStatus
from ambimesh.kube.meta import Metadata
from ambimesh.local import addresses
from ambimesh.local.home import Home
from ambimesh.local.pods import runtime
from ambimesh.local.pods.plan import PodPlace
from ambimesh.local.pods.pod_worker import NodeParts
from ambimesh.local.pods.runtime import PodRuntime
from support.fake_init import FakeInit
from support.kube import FakeApi, connect


def pod(name: str, *, phase: str = "Pending", ip: str = "", **meta: Any) -> Pod:
    """Make a pod of this node."""
    return Pod(
        metadata=Metadata(name=name, namespace="demo", uid=f"uid-{name}", **meta),
        spec=PodSpec(node_name="node-1"),
        status=PodStatus(phase=phase, pod_ip=ip),
    )


class FakeWorker:
    """A pod's worker that runs for ever, ends at once and lets its object go."""

    log: "asyncio.Queue[str]"
    api: FakeApi

    def __init__(self, _parts: NodeParts, made: Pod, place: PodPlace, *, host: int) -> None:
        self.pod = made
        self.place = place
        self.host = host

    async def run(self, _running: object) -> None:
        self.log.put_nowait(f"run {self.pod.metadata.name} {self.place.own.v4}")
        await asyncio.Event().wait()

    async def end(self) -> None:
        with suppress(KeyError):  # gone already
            self.api.remove(self.pod)
        self.log.put_nowait(f"end {self.pod.metadata.name}")


class Rig:
    """A runtime with fake workers on a fake API server."""

    def __init__(self, folder: Path) -> None:
        self.api = FakeApi()
        self.folder = folder
        self.log: asyncio.Queue[str] = asyncio.Queue()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[PodRuntime]:
        """Run for the length of the block."""
        FakeWorker.log, FakeWorker.api = self.log, self.api
        cluster = await connect(self.api, self.folder)
        parts = NodeParts(
            cluster=cluster, init=FakeInit().client, exits=cast("Any", None),
            hook=cast("Any", None), number=1,
        )  # fmt: skip
        pods = cluster.reflector(Pod)
        made = PodRuntime(parts, pods, Home(self.folder), rootless_uid=None)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(pods.run(started=lambda: None)),
                tasks.create_task(made.run(started=lambda: None)),
            ]
            yield made
            for task in running:
                task.cancel()
        await _close(cluster)

    async def next(self, count: int = 1) -> list[str]:
        """Give what happens next, in any order."""
        async with asyncio.timeout(5):
            return sorted([await self.log.get() for _ in range(count)])


async def _close(cluster: Cluster) -> None:
    await cluster.close()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    """A runtime to be run."""
    monkeypatch.setattr(runtime, "PodWorker", FakeWorker)
    return Rig(tmp_path)


async def test_pods_are_run_and_ended_as_the_api_says(rig: Rig) -> None:
    """A new pod runs; a deleted one ends, once, and so does one that is gone."""
    async with rig.running() as made:
        rig.api.put(pod("a"))
        rig.api.put(pod("b"))
        assert await rig.next(2) == ["run a 198.18.1.10", "run b 198.18.1.11"]

        rig.api.put(pod("a", deletion_timestamp="2026-01-01T00:00:00Z"))
        assert await rig.next() == ["end a"]
        rig.api.remove(pod("b"))
        assert await rig.next() == ["end b"]
        rig.api.put(pod("c"))
        assert await rig.next() == ["run c 198.18.1.12"]
        assert made.worker("uid-b") is None


async def test_pods_that_are_over_and_mirrors_are_left_alone(rig: Rig) -> None:
    """What has ended is not run again; the node proxy's pod is no process of ours."""
    rig.api.put(pod("over", phase="Succeeded"))
    rig.api.put(pod("failed", phase="Failed"))
    rig.api.put(pod("mirror", annotations={"kubernetes.io/config.mirror": "node-1"}))
    async with rig.running():
        rig.api.put(pod("real"))
        assert await rig.next() == ["run real 198.18.1.10"]


async def test_deleted_pod_that_never_ran_is_ended(rig: Rig) -> None:
    """Somebody has to let its object go."""
    rig.api.put(pod("late", deletion_timestamp="2026-01-01T00:00:00Z"))
    async with rig.running():
        assert await rig.next() == ["end late"]


async def test_address_of_a_running_pod_is_not_given_to_a_new_one(rig: Rig) -> None:
    """After a restart of the agent, whichever comes first in the list."""
    rig.api.put(pod("a-new"))
    rig.api.put(pod("z-old", phase="Running", ip="198.18.1.10"))
    async with rig.running():
        assert await rig.next(2) == ["run a-new 198.18.1.11", "run z-old 198.18.1.10"]


async def test_node_without_a_free_address_keeps_running(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pod waits until another one ends."""
    monkeypatch.setattr(addresses, "LAST_POD", addresses.FIRST_POD)
    monkeypatch.setattr(addresses, "free_pod", _first_free)
    async with rig.running():
        rig.api.put(pod("a"))
        assert await rig.next() == ["run a 198.18.1.10"]
        rig.api.put(pod("b"))
        ended = msgspec.structs.replace(pod("a").metadata, deletion_timestamp="x")
        rig.api.put(msgspec.structs.replace(pod("a"), metadata=ended))
        assert await rig.next() == ["end a"]
        assert await rig.next() == ["run b 198.18.1.10"]


def _first_free(taken: set[int], *, after: int) -> int:
    if addresses.FIRST_POD in taken:
        raise addresses.PodAddressesExhaustedError("all 1 pod addresses of the node are in use")
    return addresses.FIRST_POD
