"""The node agent, against a fake API server and fakes of a node."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from ambimesh.kube.core import Namespace, Pod, PodSpec, PodStatus
from ambimesh.kube.meta import Metadata
from ambimesh.node.agent import NodeAgent, Pacing
from ambimesh.node.capture import CaptureError, CaptureState
from support.capture_fakes import FakeSandboxes, World
from support.kube import FakeApi, connect

AMBIENT = {"istio.io/dataplane-mode": "ambient"}
QUICK = Pacing(verify_seconds=0.005, drain_check_seconds=0.005, retry_seconds=0.005)
REDIRECTION = "ambient.istio.io/redirection"


def namespace(labels: dict[str, str]) -> Namespace:
    """Make the namespace demo."""
    return Namespace(metadata=Metadata(name="demo", labels=labels))


def pod(labels: dict[str, str] | None = None, phase: str = "Running", annotation: str = "") -> Pod:
    """Make the pod demo/web, whose uid is uid-web."""
    annotations = {REDIRECTION: annotation} if annotation else {}
    return Pod(
        metadata=Metadata(
            name="web", namespace="demo", uid="uid-web", labels=labels or {},
            annotations=annotations,
        ),
        spec=PodSpec(node_name="node-1", service_account_name="web"),
        status=PodStatus(phase=phase, pod_ip="198.18.1.10"),
    )  # fmt: skip


@dataclasses.dataclass
class Rig:
    """An API server, a node, and the agent of the moment."""

    api: FakeApi
    world: World
    folder: Path
    agent: NodeAgent | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[NodeAgent]:
        """Run an agent for the length of the block; its pods are left as they are."""
        cluster = await connect(self.api, self.folder)
        captures = self.world.captures()
        agent = NodeAgent(
            cluster, captures, FakeSandboxes(self.world), node="node-1", pacing=QUICK
        )  # fmt: skip
        self.captures = captures
        started = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(agent.run(started=started.set))
            async with asyncio.timeout(5):
                await started.wait()
            yield agent
            task.cancel()
        await cluster.close()

    def annotation(self) -> str | None:
        """Give what the pod's annotation says."""
        stored = self.api.stored(pod()) or {}
        found: str | None = stored.get("metadata", {}).get("annotations", {}).get(REDIRECTION)
        return found

    async def until_annotation(self, expected: str | None) -> None:
        """Wait until the annotation says so."""
        await self.api.wait_for(lambda: self.annotation() == expected)

    def change_pod(self, made: Pod) -> None:
        """Change the pod as a person does, who keeps its annotations."""
        written = self.annotation()
        annotations = {REDIRECTION: written} if written else {}
        metadata = msgspec.structs.replace(made.metadata, annotations=annotations)
        self.api.put(msgspec.structs.replace(made, metadata=metadata))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A node with the pod demo/web."""
    made = Rig(FakeApi(), World(sandboxes={"uid-web"}), tmp_path)
    yield made
    made.world.close()


async def test_labelled_namespace_captures_its_running_pods(rig: Rig) -> None:
    """The annotation follows the state, so that the control plane announces it."""
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    async with rig.running():
        await rig.until_annotation("enabled")
        assert rig.world.rules == {"uid-web": "capture"}


async def test_label_of_the_namespace_captures_and_releases_a_pod_while_it_runs(rig: Rig) -> None:
    """Coming and going of the label is all it takes, also with connections that are carried."""
    rig.api.put(namespace({}))
    rig.api.put(pod())
    async with rig.running():
        rig.api.put(namespace(AMBIENT))
        await rig.until_annotation("enabled")
        rig.world.carried["uid-web"] = 1

        rig.api.put(namespace({}))
        await rig.until_annotation(None)
        assert rig.captures.state("uid-web") is CaptureState.DRAINING
        assert "unenrol uid-web" not in rig.world.log


async def test_pod_is_pending_until_a_proxy_comes(rig: Rig) -> None:
    """Without a proxy nothing is redirected; with one it is, without a change of any label."""
    rig.world.has_proxy = False
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    async with rig.running() as agent:
        await rig.until_annotation("pending")
        assert rig.world.rules == {}

        rig.world.has_proxy = True
        agent.proxy_changed()
        await rig.until_annotation("enabled")


async def test_opted_out_pod_is_released_from_a_labelled_namespace(rig: Rig) -> None:
    """The pod's own label wins."""
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    async with rig.running():
        await rig.until_annotation("enabled")
        rig.change_pod(pod({"istio.io/dataplane-mode": "none"}))
        await rig.until_annotation(None)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_pod_that_has_ended_is_forgotten(rig: Rig, phase: str) -> None:
    """It carries nothing any more, and is not announced."""
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    async with rig.running():
        await rig.until_annotation("enabled")
        rig.change_pod(pod(phase=phase))
        await rig.until_annotation(None)
        assert rig.captures.states() == {}


async def test_pod_that_is_gone_is_taken_off_the_proxies(rig: Rig) -> None:
    """A pod deleted by force leaves nothing behind."""
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    async with rig.running():
        await rig.until_annotation("enabled")
        rig.api.remove(pod())
        async with asyncio.timeout(5):
            while rig.captures.states():  # noqa: ASYNC110  # a fake has no condition to wait for
                await asyncio.sleep(0.001)
        assert rig.world.log[-1] == "unenrol uid-web"


async def test_restarted_agent_loads_rules_before_a_proxy_is_there(rig: Rig) -> None:
    """What was captured is captured when ``started`` is called, whoever is connected."""
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    async with rig.running():
        await rig.until_annotation("enabled")
    rig.world.rules.clear()
    rig.world.has_proxy = False

    async with rig.running():
        assert rig.world.rules == {"uid-web": "capture"}
        assert rig.annotation() == "enabled"


async def test_restarted_agent_does_not_redirect_what_no_proxy_had_taken(rig: Rig) -> None:
    """A pod that was pending stays so; its traffic flows."""
    rig.world.has_proxy = False
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    async with rig.running():
        await rig.until_annotation("pending")
    async with rig.running():
        assert rig.world.rules == {}


async def test_restarted_agent_goes_on_draining(rig: Rig) -> None:
    """A pod that was being released when the agent died is released to the end."""
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    async with rig.running():
        await rig.until_annotation("enabled")
        rig.world.carried["uid-web"] = 1
        rig.api.put(namespace({}))
        await rig.until_annotation(None)

    async with rig.running():
        assert rig.world.rules == {"uid-web": "drain"}
        assert "listen uid-web" not in rig.world.log[6:]


async def test_new_pod_is_captured_before_it_starts_or_does_not_start(rig: Rig) -> None:
    """``prepare`` fails while no proxy can take the pod, and does nothing for others."""
    rig.world.has_proxy = False
    rig.api.put(namespace(AMBIENT))
    async with rig.running() as agent:
        with pytest.raises(CaptureError, match="no node proxy"):
            await agent.prepare(pod())
        await agent.prepare(pod({"istio.io/dataplane-mode": "none"}))
        assert rig.world.rules == {}


async def test_pod_of_an_unknown_namespace_does_not_start_uncaptured(rig: Rig) -> None:
    """The label of a namespace that was not seen yet may want the pod captured."""
    async with rig.running() as agent:
        with pytest.raises(CaptureError, match="namespace is not known yet"):
            await agent.prepare(pod())


async def test_refused_annotation_is_written_again(rig: Rig) -> None:
    """An API server that fails once does not leave a wrong state behind."""
    rig.api.put(namespace(AMBIENT))
    rig.api.put(pod())
    rig.api.refuse(500, when=lambda request: request.method == "PATCH")
    async with rig.running():
        await rig.until_annotation("enabled")
