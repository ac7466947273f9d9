"""Parts of a mesh are killed while traffic runs: what holds meanwhile, and that it heals."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count

import pytest

from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.documents import Documents
from ambimesh.kube.errors import ObjectExistsError
from ambimesh.local.init.client import InitClient
from ambimesh.local.init.protocol import ProcessState
from ambimesh.local.link_capture import Segment, read_segments
from ambimesh.local.link_watch import recorded
from ambimesh.local.machine import FABRIC
from ambimesh.local.node_seams import PROXY_OWNER
from support.running_mesh import RunningMesh, manifest
from support.traffic_peer import MARKER

pytestmark = [pytest.mark.lab, pytest.mark.chaos]

NAMESPACE = "chaos"
HEAL_SECONDS = 20.0
REQUESTS = 20  # that are to be made while something is missing
WRITES = 60  # between two kills of the API server


async def test_traffic_goes_on_without_the_control_plane(mesh: RunningMesh) -> None:
    """Issue 3, 6: every new connection succeeds while it hangs, is killed, and comes back."""
    async with _init(mesh, FABRIC) as init:
        before = await _process(init, "component/controlplane")
        traffic = _Traffic(mesh)
        await init.signal(before.key, signal.SIGSTOP)
        await traffic.wait_more(REQUESTS)
        await init.signal(before.key, signal.SIGKILL)
        await traffic.wait_more(REQUESTS)
        await _until_replaced(init, before)
        await traffic.wait_more(REQUESTS)

    assert traffic.outcomes().keys() == {"answered"}
    _assert_healed(mesh)


@pytest.mark.parametrize("node", ["node-1", "node-2"])
async def test_agent_killed_leaves_no_plaintext_and_takes_pods_back(
    mesh: RunningMesh, node: str
) -> None:
    """Issue 3, 6: no connection fails, none is in plaintext, and pods are captured again."""
    async with _init(mesh, node) as init, _recorded(mesh) as segments:
        before = await _process(init, f"component/{node}")
        proxies = await init.processes(PROXY_OWNER)
        traffic = _Traffic(mesh)
        await init.signal(before.key, signal.SIGKILL)
        await traffic.wait_more(REQUESTS)
        await _until_replaced(init, before)
        await _until_ready(mesh)
        await traffic.wait_more(REQUESTS)
        assert [p.pid for p in await init.processes(PROXY_OWNER)] == [p.pid for p in proxies]

    assert traffic.outcomes().keys() == {"answered"}
    _assert_encrypted(mesh, segments)
    _assert_healed(mesh)


@pytest.mark.parametrize("node", ["node-1", "node-2"])
async def test_proxy_killed_leaves_no_plaintext_and_is_followed(
    mesh: RunningMesh, node: str
) -> None:
    """Issue 3, 6; D7: connections wait for the next generation; only open ones are cut."""
    async with _init(mesh, node) as init, _recorded(mesh) as segments:
        (before,) = await _proxies(init)
        traffic = _Traffic(mesh)
        await init.signal(before.key, signal.SIGKILL)
        await traffic.wait_more(REQUESTS)
        after = await _proxies(init)

    assert [proxy.pid for proxy in after] != [before.pid]
    assert traffic.outcomes().total() - traffic.outcomes()["answered"] <= 1  # the one that was open
    _assert_encrypted(mesh, segments)
    _assert_healed(mesh)


async def test_agent_and_proxy_killed_together_are_both_followed(
    mesh: RunningMesh,
) -> None:
    """Issue 3, 6: with nobody left on a node, a pod waits; it never speaks in plaintext."""
    async with _init(mesh, "node-2") as init, _recorded(mesh) as segments:
        agent = await _process(init, "component/node-2")
        (proxy,) = await _proxies(init)
        traffic = _Traffic(mesh)
        await init.signal(agent.key, signal.SIGKILL)
        await init.signal(proxy.key, signal.SIGKILL)
        await _until_replaced(init, agent)
        await traffic.wait_more(REQUESTS)

    _assert_encrypted(mesh, segments)
    _assert_healed(mesh)


async def test_api_server_killed_under_writes_loses_nothing_acknowledged(
    mesh: RunningMesh,
) -> None:
    """Issue 3, 6: after kill -9 under writes, every acknowledged object is there."""
    acknowledged: list[str] = []
    async with _init(mesh, FABRIC) as init:
        for round_ in range(3):
            before = await _process(init, "component/apiserver")
            killed = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                for number in range(4):
                    tasks.create_task(_write(mesh, f"w{round_}-{number}", acknowledged, killed))
                await _until_longer(acknowledged, len(acknowledged) + WRITES)
                await init.signal(before.key, signal.SIGKILL)
                killed.set()
            await _until_replaced(init, before)

    stored = mesh.until(lambda: _config_maps(mesh), seconds=HEAL_SECONDS)
    assert len(acknowledged) >= 3 * WRITES
    assert set(acknowledged) <= stored


async def _write(
    mesh: RunningMesh, prefix: str, acknowledged: list[str], killed: asyncio.Event
) -> None:
    """Create objects one after another, until the one that the kill of the API server meets."""
    with suppress(MeshError):
        async with Documents.open(mesh.home.kubeconfig) as documents:
            kind = documents.kind("configmaps")
            for number in count():
                if killed.is_set():
                    return
                name = f"{prefix}-{number}"
                document = manifest("v1", "ConfigMap", NAMESPACE, name, {"data": {"n": name}})
                with suppress(ObjectExistsError):  # written by a try that was repeated
                    await documents.create(kind, document, namespace=NAMESPACE)
                acknowledged.append(name)


def _config_maps(mesh: RunningMesh) -> set[str]:
    said = mesh.kubectl("get", "configmaps", "-n", NAMESPACE, "-o", "name", expect=None)
    return {line.removeprefix("configmap/") for line in said.splitlines() if "configmap/w" in line}


# -- looking at parts ----------------------------------------------------------------------


@asynccontextmanager
async def _init(mesh: RunningMesh, place: str) -> AsyncIterator[InitClient]:
    async with await InitClient.connect(mesh.home.init_socket(place)) as init:
        yield init


async def _process(init: InitClient, key: str) -> ProcessState:
    (found,) = [p for p in await init.processes() if p.key == key and p.exit is None]
    return found


async def _proxies(init: InitClient) -> list[ProcessState]:
    return [p for p in await init.processes(PROXY_OWNER) if p.exit is None]


async def _until_replaced(init: InitClient, before: ProcessState) -> None:
    """Wait until another process runs in the place of one."""

    async def is_replaced() -> bool:
        processes = await init.processes()
        return any(p.key == before.key and p.pid != before.pid and not p.exit for p in processes)

    async with asyncio.timeout(HEAL_SECONDS):
        while not await is_replaced():  # noqa: ASYNC110  # processes tell nobody of their start
            await asyncio.sleep(0.02)


async def _until_longer(names: list[str], count: int) -> None:
    await _until(lambda: len(names) >= count)


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(HEAL_SECONDS):
        while not holds():  # noqa: ASYNC110  # another process makes it so
            await asyncio.sleep(0.01)


async def _until_ready(mesh: RunningMesh) -> None:
    """Wait until every part of the mesh says that it is ready."""
    await _until(lambda: mesh.parts()["ready"])


def _assert_healed(mesh: RunningMesh) -> None:
    """Check that all parts come back, and that pods are captured, tunnelled and entered again."""
    mesh.until(lambda: mesh.parts()["ready"], seconds=HEAL_SECONDS)
    mesh.until(lambda: mesh.captured(NAMESPACE) == {"server", "client"})
    host = mesh.address(NAMESPACE, "server")
    mesh.until_tunnelled(NAMESPACE, "client", host, node="node-1")


# -- traffic -------------------------------------------------------------------------------


class _Traffic:
    """What became of the requests that the client makes all the time, from now on."""

    def __init__(self, mesh: RunningMesh) -> None:
        self._mesh = mesh
        self._begin = self._seen = len(self._all())

    async def wait_more(self, count: int) -> None:
        """Wait until so many more requests have ended, well or not."""
        self._seen = max(self._seen, len(self._all()))
        await _until(lambda: len(self._all()) >= self._seen + count)
        self._seen += count

    def outcomes(self) -> Counter[str]:
        """Count how they ended."""
        return Counter(self._all()[self._begin :])

    def _all(self) -> list[str]:
        return self._mesh.pod_log(NAMESPACE, "client").splitlines()


@asynccontextmanager
async def _recorded(mesh: RunningMesh) -> AsyncIterator[list[Segment]]:
    """Record the link of the client's node; the list is filled when the block ends."""
    segments: list[Segment] = []
    async with recorded(mesh.home, "node-2") as path:
        yield segments
    segments += read_segments(path)


def _assert_encrypted(mesh: RunningMesh, segments: list[Segment]) -> None:
    """Check that all between the two pods went to port 15008, and no marker was on the link."""
    both = mesh.addresses(NAMESPACE)
    ends = {*both["server"], *both["client"]}
    between = [s for s in segments if {str(s.source), str(s.destination)} <= ends]
    assert len(between) > REQUESTS
    assert not [s for s in between if 15008 not in s.ports]
    assert not [s for s in segments if MARKER in s.payload]
