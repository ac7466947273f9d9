"""Traffic of untouched programs: the same with the mesh as without it, and encrypted."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from ambimesh.local.link_capture import Segment, read_segments
from ambimesh.local.link_watch import recorded
from support.running_mesh import PEER, RunningMesh

pytestmark = pytest.mark.lab

CASES = ["echo", "half_close", "small_writes", "banner", "server_reset", "refused", "both_ways"]


@pytest.fixture(scope="module")
def pair(mesh: RunningMesh) -> Iterator[str]:
    """A server on node-1 and a client on node-2, not captured yet, in a namespace."""
    name = "traffic"
    mesh.kubectl("create", "namespace", name)
    mesh.run_peer(name, "server", node="node-1")
    mesh.run_client(name, "client", node="node-2")
    yield name
    mesh.kubectl("delete", "namespace", name, "--wait=false")


def test_captured_traffic_equals_direct_traffic(mesh: RunningMesh, pair: str) -> None:
    """Issue 3, 4: byte for byte, or the same error, and one family like the other."""
    hosts = {family: mesh.address(pair, "server", family) for family in (4, 6)}
    direct = {
        (case, family): mesh.case(pair, "client", case, host)
        for case in CASES
        for family, host in hosts.items()
        if case != "both_ways" or family == 4
    }
    mesh.capture(pair, "server", "client")
    mesh.until(lambda: _is_tunnelled(mesh, pair, hosts[4]))

    captured = {
        (case, family): mesh.case(pair, "client", case, hosts[family]) for case, family in direct
    }

    # With the mesh the connect succeeds before the far end is known; the refusal follows.
    for family in hosts:
        assert captured.pop(("refused", family))["outcome"] in {
            "ConnectionResetError",
            "end",
            "ConnectionRefusedError",
        }
        direct.pop(("refused", family))
    assert captured == direct


def test_server_sees_the_clients_own_address(mesh: RunningMesh, pair: str) -> None:
    """Design §3.8: the application sees who called, in both families."""
    mesh.capture(pair, "server", "client")
    for family in (4, 6):
        answer = mesh.case(pair, "client", "address", mesh.address(pair, "server", family))

        assert answer["seen_as"] == mesh.address(pair, "client", family)


def test_client_reset_reaches_the_server(mesh: RunningMesh, pair: str) -> None:
    """Design §3.5: a reset travels end to end, not as an orderly end."""
    mesh.capture(pair, "server", "client")

    mesh.case(pair, "client", "client_reset", mesh.address(pair, "server"))

    log = mesh.home.pod_folder(pair, "server") / "server.log"
    mesh.until(lambda: '"outcome": "reset"' in log.read_text("utf-8"), seconds=5)


def test_nothing_captured_is_on_the_wire_in_plaintext(mesh: RunningMesh, pair: str) -> None:
    """Issue 3, 4: a recording of the node's link has only TLS to port 15008."""
    mesh.capture(pair, "server", "client")
    host = mesh.address(pair, "server")
    mesh.until(lambda: _is_tunnelled(mesh, pair, host))

    segments = asyncio.run(_recorded_echo(mesh, pair, host))

    between = [
        s
        for s in segments
        if {str(s.source), str(s.destination)} <= {host, mesh.address(pair, "client")}
    ]
    assert between
    assert all(15008 in segment.ports for segment in between)
    assert not [segment for segment in between if b"hello" in segment.payload]


def test_connections_live_through_capture_and_release(mesh: RunningMesh, namespace: str) -> None:
    """Issue 3, 3: long connections are alive across uncaptured, captured, uncaptured."""
    mesh.run_peer(namespace, "server", node="node-1")
    mesh.run_client(namespace, "client", node="node-2")
    host = mesh.address(namespace, "server")

    before = _Ping(mesh, namespace, host)
    mesh.capture(namespace, "server", "client")
    mesh.until(lambda: _is_tunnelled(mesh, namespace, host))
    during = _Ping(mesh, namespace, host)
    mesh.release(namespace, "server", "client")
    mesh.until(lambda: not _is_tunnelled(mesh, namespace, host))

    for ping in (before, during):
        assert ping.finish()["outcome"] == "alive"


class _Ping:
    """A connection that goes on in the background until ``finish``."""

    def __init__(self, mesh: RunningMesh, namespace: str, host: str) -> None:
        self._flag = mesh.home.root / f"stop-{id(self)}"
        command = (sys.executable, str(PEER), "ping", host, "8080", str(self._flag))
        self._process = subprocess.Popen(
            mesh.ambi_command("exec", "-n", namespace, "client", "--", *command),
            env=mesh.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._process.stderr is not None
        assert self._process.stderr.readline().strip() == "1"

    def finish(self) -> dict[str, object]:
        """Let it end and give what it reports."""
        self._flag.touch()
        output, _ = self._process.communicate(timeout=20)
        answer: dict[str, object] = json.loads(output.splitlines()[-1])
        return answer


def _is_tunnelled(mesh: RunningMesh, namespace: str, host: str) -> bool:
    """Make one request and tell whether the server's proxy logged it."""
    before = len(mesh.access_log("node-1"))
    assert mesh.case(namespace, "client", "echo", host)["answer"] == "hello"
    return len(mesh.access_log("node-1")) > before


async def _recorded_echo(mesh: RunningMesh, namespace: str, host: str) -> list[Segment]:
    async with recorded(mesh.home, "node-2") as path:
        await asyncio.to_thread(mesh.case, namespace, "client", "echo", host)
    return list(read_segments(path))
