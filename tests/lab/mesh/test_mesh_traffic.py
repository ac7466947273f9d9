"""Traffic of untouched programs: the same with the mesh as without it, and encrypted."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ambimesh.local.link_capture import Segment, read_segments
from ambimesh.local.link_watch import recorded
from support.running_mesh import Program, RunningMesh, case_command, peer

pytestmark = pytest.mark.lab

CASES = ["echo", "half_close", "small_writes", "banner", "server_reset", "both_ways"]
FAMILIES = (4, 6)
Outcomes = dict[tuple[str, int], dict[str, Any]]


@pytest.fixture(scope="module")
def direct() -> Outcomes:
    """What each case gives without the mesh; filled before the pair is captured."""
    return {}


@pytest.fixture(scope="module")
def pair(mesh: RunningMesh, make_namespace: Callable[[], str], direct: Outcomes) -> Iterator[str]:
    """A server on node-1 and a client on node-2 in a namespace, captured while they run."""
    name = make_namespace()
    mesh.run_pods(name, peer("server", node="node-1"), Program(name="client", node="node-2"))
    direct |= {(case, family): _run(mesh, name, case, family) for case, family in _cells()}
    mesh.capture(name, "server", "client")
    mesh.until_tunnelled(name, "client", mesh.address(name, "server"), node="node-1")
    yield name
    mesh.kubectl("delete", "namespace", name, "--wait=false")


def _cells() -> list[tuple[str, int]]:
    """Give every case in every family; the long one in one of them."""
    return [(c, f) for c in CASES for f in FAMILIES if c != "both_ways" or f == 4]


def _run(mesh: RunningMesh, namespace: str, case: str, family: int) -> dict[str, Any]:
    return mesh.case(namespace, "client", case, mesh.address(namespace, "server", family))


@pytest.mark.parametrize(("case", "family"), _cells())
def test_captured_traffic_equals_direct_traffic(
    mesh: RunningMesh, pair: str, direct: Outcomes, case: str, family: int
) -> None:
    """Issue 3, 4: byte for byte, or the same error, and one family like the other."""
    captured = _run(mesh, pair, case, family)

    assert "error" not in captured
    assert captured == direct[case, family]


def test_refused_port_ends_the_connection_without_data(mesh: RunningMesh, pair: str) -> None:
    """With the mesh the connect succeeds before the far end is known; the refusal follows."""
    outcome = _run(mesh, pair, "refused", 4)["outcome"]

    assert outcome in {"ConnectionResetError", "ConnectionRefusedError"}


def test_long_transfer_arrives_whole_at_the_server(mesh: RunningMesh, pair: str) -> None:
    """What the server read of 64 MiB is the same with the mesh as without it."""
    _run(mesh, pair, "both_ways", 4)

    lines = [line for line in mesh.pod_log(pair, "server").splitlines() if "received" in line]
    assert len(lines) >= 2
    assert len(set(lines)) == 1
    assert json.loads(lines[0])["received"][0] == 64 << 20


@pytest.mark.parametrize("family", FAMILIES)
def test_server_sees_the_clients_own_address(mesh: RunningMesh, pair: str, family: int) -> None:
    """Design §3.8: the application sees who called, in both families."""
    answer = _run(mesh, pair, "address", family)

    assert answer["seen_as"] == mesh.address(pair, "client", family)


def test_client_reset_reaches_the_server(mesh: RunningMesh, pair: str) -> None:
    """Design §3.5: a reset travels end to end, not as an orderly end."""
    before = mesh.pod_log(pair, "server").count('"outcome": "reset"')

    _run(mesh, pair, "client_reset", 4)

    mesh.until(lambda: mesh.pod_log(pair, "server").count('"outcome": "reset"') > before, seconds=5)


def test_nothing_captured_is_on_the_wire_in_plaintext(mesh: RunningMesh, pair: str) -> None:
    """Issue 3, 4: a recording of the node's link has only TLS to port 15008."""
    hosts = mesh.addresses(pair)

    segments = asyncio.run(_recorded_echo(mesh, pair))

    ends = {*hosts["server"], *hosts["client"]}
    between = [s for s in segments if {str(s.source), str(s.destination)} <= ends]
    assert between
    assert all(15008 in segment.ports for segment in between)
    assert any(segment.looks_like_tls for segment in between)
    assert not [segment for segment in segments if b"hello" in segment.payload]


async def _recorded_echo(mesh: RunningMesh, namespace: str) -> list[Segment]:
    async with recorded(mesh.home, "node-2") as path:
        await asyncio.to_thread(_run, mesh, namespace, "echo", 4)
    return list(read_segments(path))


def test_connections_live_through_capture_and_release(mesh: RunningMesh, namespace: str) -> None:
    """Issue 3, 3: long connections are alive across uncaptured, captured, uncaptured."""
    mesh.run_pods(namespace, peer("server", node="node-1"), Program(name="client", node="node-2"))
    host = mesh.address(namespace, "server")

    before = _Ping(mesh, namespace, host)
    mesh.capture(namespace, "server", "client")
    mesh.until_tunnelled(namespace, "client", host, node="node-1")
    during = _Ping(mesh, namespace, host)
    mesh.release(namespace, "server", "client")
    mesh.until(lambda: not _is_logged(mesh, namespace, host))
    after = _Ping(mesh, namespace, host)

    for ping in (before, during, after):
        assert ping.finish() == "alive"


def test_ambi_commands_make_and_enter_a_pod_by_service_name(
    mesh: RunningMesh, namespace: str
) -> None:
    """Issue 3, 3: `ambi run`, a Service manifest and `ambi exec`, uncaptured and captured."""
    run = ("run", "--detach", "-n", namespace, "--node")
    serve = ("python3", "-m", "http.server", "8080", "--directory", "/usr/share/dict")
    mesh.ambi(*run, "node-1", "--service-account", "web", "--port", "8080", "--name", "web", "--",
              *serve)  # fmt: skip
    mesh.ambi(*run, "node-2", "--name", "client", "--", "sleep", "infinity")
    mesh.kubectl("expose", "pod", "web", "-n", namespace, "--port", "8080")

    def status() -> str:
        curl = ("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}")
        url = f"http://web.{namespace}:8080/"
        return mesh.ambi("exec", "-n", namespace, "client", "--", *curl, url, expect=None)

    mesh.until(lambda: status() == "200")
    mesh.capture(namespace, "web", "client")
    mesh.until(lambda: _identity_logged(mesh, namespace, status))
    mesh.release(namespace, "web", "client")
    mesh.until(lambda: not _identity_logged(mesh, namespace, status))

    assert status() == "200"


class _Ping:
    """A connection that goes on in the background until ``finish``."""

    def __init__(self, mesh: RunningMesh, namespace: str, host: str) -> None:
        self._flag = mesh.home.root / f"stop-{id(self)}"
        command = case_command("ping", host, str(self._flag))
        self._process = mesh.background(namespace, "client", *command)
        assert self._process.stderr is not None
        assert self._process.stderr.readline().strip() == "1"

    def finish(self) -> str:
        """Let it end and give how it was."""
        self._flag.touch()
        output, _ = self._process.communicate(timeout=20)
        return str(json.loads(output.splitlines()[-1])["outcome"])


def _is_logged(mesh: RunningMesh, namespace: str, host: str) -> bool:
    """Make a request; tell whether the server's proxy logged it."""
    before = len(mesh.access_log("node-1"))
    assert mesh.case(namespace, "client", "echo", host) == {"answer": "hello"}
    return len(mesh.access_log("node-1")) > before


def _identity_logged(mesh: RunningMesh, namespace: str, request: Callable[[], str]) -> bool:
    """Make a request; tell whether the server's proxy logged both its identities."""
    before = len(mesh.access_log("node-1"))
    assert request() == "200"
    own = f"spiffe://cluster.local/ns/{namespace}/sa/"
    return any(
        own + "default" in line and own + "web" in line
        for line in mesh.access_log("node-1")[before:]
    )
