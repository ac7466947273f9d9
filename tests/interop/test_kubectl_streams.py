"""Real kubectl exec, attach, cp, logs and port-forward, through the API to a fake door."""

import functools
import hashlib
import http.server
import os
import re
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.apiserver import ApiServer, FakeAgent, serving
from support.door import LOG, FakeDoor, open_fake_door

pytestmark = pytest.mark.interop

POD = """\
apiVersion: v1
kind: Pod
metadata: {name: p}
spec:
  nodeName: node-1
  containers: [{name: main, image: none, command: [sleep, "1000"]}]
"""
PAIR = POD.replace("name: p}", "name: pair}").replace(
    "containers: [", "containers: [{name: side, image: none}, "
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One server with two running pods for all tests."""
    folder = tmp_path_factory.mktemp("api")
    with serving(folder) as running, FakeAgent(running.client(), "node-1"):
        running.kubectl("apply", "-f", "-", stdin=POD + "---\n" + PAIR)
        running.kubectl("wait", "pod", "--all", "--for=condition=Ready", "--timeout=30s")
        yield running


@pytest.fixture
def door(server: ApiServer) -> Iterator[FakeDoor]:
    """The door of the pods' node."""
    with open_fake_door(server.home.door_socket("node-1")) as opened:
        yield opened


def test_exec_carries_both_outputs_and_the_exit_code(server: ApiServer, door: FakeDoor) -> None:
    """Two channels come apart at the other end, and the command's code is kubectl's."""
    done = server.kubectl("exec", "p", "--", "sh", "-c", "echo a; echo b >&2; exit 3", check=False)

    assert (done.returncode, done.stdout) == (3, "a\n")
    assert done.stderr.startswith("b\n")
    assert door.requests[0].container == "main"
    assert door.requests[0].command == ("sh", "-c", "echo a; echo b >&2; exit 3")


def test_exec_with_input_ends_when_the_input_ends(server: ApiServer, door: FakeDoor) -> None:
    """Version 5 closes the channel of standard input: `cat` sees its end."""
    text = "x" * 300_000

    done = server.kubectl("exec", "-i", "p", "--", "cat", stdin=text)

    assert done.stdout == text
    assert door.requests[0].stdin


def test_exec_in_named_container(server: ApiServer, door: FakeDoor) -> None:
    """A container is named; an unknown one is refused with words that kubectl shows."""
    named = server.kubectl("exec", "pair", "-c", "side", "--", "true")
    unknown = server.kubectl("exec", "pair", "-c", "none", "--", "true", check=False)

    assert named.returncode == 0
    assert door.requests[0].container == "side"
    assert "container none is not valid for pod pair" in unknown.stderr
    assert len(door.requests) == 1


def test_exec_of_a_missing_program_tells_why(server: ApiServer, door: FakeDoor) -> None:
    """What the door says before it starts reaches the user."""
    done = server.kubectl("exec", "p", "--", "/no/such/program", check=False)

    assert done.returncode != 0
    assert "cannot run /no/such/program" in done.stderr
    assert len(door.requests) == 1


def test_exec_without_an_agent_tells_so(server: ApiServer) -> None:
    """Nobody behind the door is a clear error, not a hang."""
    done = server.kubectl("exec", "p", "--", "true", check=False)

    assert done.returncode != 0
    assert "the agent of the node of pod p does not answer" in done.stderr


def test_attach_shows_what_the_program_says(server: ApiServer, door: FakeDoor) -> None:
    """Attach goes the same way as exec."""
    done = server.kubectl("attach", "p")

    assert "attached" in done.stdout
    assert door.requests[0].op == "attach"


def test_cp_brings_a_file_through(server: ApiServer, door: FakeDoor, tmp_path: Path) -> None:
    """A copy is tar on both sides of an exec: bytes arrive as they were."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(1 << 20))

    server.kubectl("cp", f"p:{source}", str(tmp_path / "copy"))

    assert (tmp_path / "copy").read_bytes() == source.read_bytes()
    assert door.requests[0].command[0] == "tar"


def test_logs_whole_tail_and_options(server: ApiServer, door: FakeDoor) -> None:
    """Options of `logs` reach the door; its text reaches the user."""
    whole = server.kubectl("logs", "p").stdout
    tail = server.kubectl("logs", "p", "--tail=2", "--timestamps", "--since=5m").stdout

    assert whole.split("\n")[:-1] == LOG
    assert tail.split("\n")[:-1] == LOG[-2:]
    asked = door.requests[1]
    assert (asked.tail_lines, asked.timestamps, asked.since_seconds) == (2, True, 300)


def test_logs_follow_shows_lines_as_they_come(server: ApiServer, door: FakeDoor) -> None:
    """A followed log is not held back until its end."""
    with subprocess.Popen(
        [*server.kubectl_command(), "logs", "-f", "p"], stdout=subprocess.PIPE, text=True
    ) as following:
        assert following.stdout is not None
        seen = [following.stdout.readline().strip() for _ in LOG]
        door.said.set()
        last = following.stdout.read()

    assert seen == LOG
    assert last == "one more\n"


def test_logs_of_a_pod_with_two_containers_need_a_name(server: ApiServer, door: FakeDoor) -> None:
    """Which log is meant must be said when there are several."""
    named = server.kubectl("logs", "pair", "-c", "side")
    every = server.kubectl("logs", "pair", "--all-containers")

    assert named.stdout
    assert len(every.stdout.split("\n")) == 2 * len(LOG) + 1
    assert {request.container for request in door.requests} == {"side", "main"}


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


@contextmanager
def _site(folder: Path) -> Iterator[int]:
    handler = functools.partial(_Quiet, directory=str(folder))
    site = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=site.serve_forever)
    thread.start()
    try:
        yield site.server_port
    finally:
        site.shutdown()
        thread.join()
        site.server_close()


@contextmanager
def _forwarding(server: ApiServer, port: int) -> Iterator[int]:
    command = [*server.kubectl_command(), "port-forward", "pod/p", f":{port}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        try:
            assert run.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", run.stdout.readline())
            assert found
            yield int(found[1])
        finally:
            run.kill()


def test_port_forward_carries_many_large_downloads_at_once(
    server: ApiServer, door: FakeDoor, tmp_path: Path
) -> None:
    """Eight connections of 8 MiB share one tunnel, byte for byte."""
    content = os.urandom(8 << 20)
    (tmp_path / "file").write_bytes(content)

    with (
        _site(tmp_path) as port,
        _forwarding(server, port) as local,
        ThreadPoolExecutor(8) as pool,
    ):
        fetch = functools.partial(_digest, f"http://127.0.0.1:{local}/file")
        digests = set(pool.map(lambda _: fetch(), range(8)))

    assert digests == {hashlib.sha256(content).hexdigest()}
    assert {request.op for request in door.requests} == {"portforward"}


def _digest(address: str) -> str:
    with urllib.request.urlopen(address, timeout=60) as response:
        return hashlib.sha256(response.read()).hexdigest()


def test_port_forward_to_a_closed_port_tells_why(server: ApiServer, door: FakeDoor) -> None:
    """A refused connection is named on kubectl's standard error."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        command = [*server.kubectl_command(), "port-forward", "pod/p", f":{port}"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout is not None
            assert run.stderr is not None
            local = re.search(r"127\.0\.0\.1:(\d+)", run.stdout.readline())
            assert local
            with socket.create_connection(("127.0.0.1", int(local[1])), timeout=10) as client:
                client.recv(1)
            told = run.stderr.readline()
            run.kill()

    assert f"error forwarding port {port}" in told
    assert "Connection refused" in told or "Connect call failed" in told


def test_port_forward_carries_half_close(server: ApiServer, door: FakeDoor) -> None:
    """A client that has said everything still hears the answer."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        peer, _ = listening.accept()
        with peer:
            said = b""
            while chunk := peer.recv(65536):
                said += chunk
            peer.sendall(said[::-1])

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    with listening, _forwarding(server, listening.getsockname()[1]) as local:
        with socket.create_connection(("127.0.0.1", local), timeout=20) as client:
            client.sendall(b"abc")
            client.shutdown(socket.SHUT_WR)
            heard = b""
            while chunk := client.recv(65536):
                heard += chunk
        thread.join()

    assert heard == b"cba"
