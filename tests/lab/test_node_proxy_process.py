"""The node proxy as a real process in shared mode, with a node agent made of this test."""

import array
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

DISCOVERY_OFF = {"XDS_ADDRESS": "", "CA_ADDRESS": ""}
OUTBOUND, PLAINTEXT, HBONE = 1, 2, 3
PORTS = {OUTBOUND: 15001, PLAINTEXT: 15006, HBONE: 15008}
SECONDS = 20.0


class Sandbox:
    """A network namespace, kept by a sleeping process."""

    def __init__(self) -> None:
        """Make the namespace and bring its loopback device up."""
        command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"]
        self.holder = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"up\n"
        self.path = f"/proc/{self.holder.pid}/ns/net"

    def run(self, *command: str) -> str:
        """Run a command inside and return what it prints."""
        inside = ["nsenter", f"--net={self.path}", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=True, timeout=20).stdout

    def listening(self) -> set[int]:
        """Return the ports that something listens on."""
        lines = self.run("ss", "-Hltn").splitlines()
        return {int(line.split()[3].rsplit(":", 1)[1]) for line in lines}

    def close(self) -> None:
        """End the holder, and with it the namespace."""
        self.holder.kill()
        self.holder.wait()
        if self.holder.stdout is not None:
            self.holder.stdout.close()


@pytest.fixture
def pod() -> Iterator[Sandbox]:
    """A pod's namespace."""
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


@pytest.fixture
def node() -> Iterator[Sandbox]:
    """The namespace of the node proxy itself, so that its own ports are free."""
    sandbox = Sandbox()
    yield sandbox
    sandbox.close()


class Agent:
    """A node agent that speaks ZDS, message by message."""

    def __init__(self, path: Path) -> None:
        """Listen where the proxy will connect to."""
        self.path = str(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.settimeout(SECONDS)
        self.listener.bind(self.path)
        self.listener.listen()

    def accept(self) -> bytes:
        """Take the proxy's connection and return its hello."""
        self.connection, _ = self.listener.accept()
        self.connection.settimeout(SECONDS)
        return self.connection.recv(1024)

    def ask(self, message: bytes, descriptors: list[int] | None = None) -> bytes:
        """Send one request and return the answer to it."""
        rights = array.array("i", descriptors or [])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        self.connection.sendmsg([message], ancillary)
        return self.connection.recv(1024)

    def close(self) -> None:
        """Close both sockets."""
        self.connection.close()
        self.listener.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    """A node agent that listens."""
    agent = Agent(tmp_path / "zds.sock")
    yield agent
    agent.close()


@pytest.fixture
def proxy(node: Sandbox, agent: Agent) -> Iterator[subprocess.Popen[str]]:
    """A node proxy in shared mode, without a control plane, on its way to the agent."""
    command = ["nsenter", f"--net={node.path}", sys.executable, "-m", "ambimesh.cli.node_proxy"]
    env = {"PATH": os.environ["PATH"], "INPOD_UDS": agent.path, **DISCOVERY_OFF}
    started = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    yield started
    started.kill()
    started.communicate()


def field(number: int, value: bytes) -> bytes:
    """Encode one length-delimited protobuf field."""
    tag = number << 3 | 2
    head = bytes([tag]) if tag < 128 else bytes([tag & 127 | 128, tag >> 7])
    return head + bytes([len(value)]) + value


def add(uid: bytes, listeners: tuple[int, ...] = ()) -> bytes:
    """Encode an AddWorkload request."""
    info = field(1, b"web") + field(2, b"demo") + field(3, b"web")
    packed = field(100, bytes(listeners)) if listeners else b""
    return field(1, field(1, uid) + field(2, info) + packed)


ACK = field(1, b"")
SNAPSHOT_SENT = field(3, b"")
RETIRE = field(100, b"")


def finish(proxy: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the proxy to end and return its exit code and its log."""
    log, _ = proxy.communicate(timeout=SECONDS)
    return proxy.returncode, log


def readiness(node: Sandbox) -> str:
    """Return what the readiness probe says."""
    return node.run("curl", "-s", "http://127.0.0.1:15021/healthz/ready")


def test_pod_is_served_until_the_proxy_is_told_to_end(
    pod: Sandbox, node: Sandbox, agent: Agent, proxy: subprocess.Popen[str]
) -> None:
    """A named pod has listeners, shows up in the dump, and a SIGTERM ends the process with 0."""
    hello = agent.accept()
    with Path(pod.path).open("rb") as netns:
        answer = agent.ask(add(b"uid-1"), [netns.fileno()])

    assert hello == b"\x08\x01\xa0\x06\x01"
    assert answer == ACK
    assert pod.listening() == set(PORTS.values())
    assert readiness(node) == "not ready, pending: workload proxy manager\n"
    assert agent.ask(SNAPSHOT_SENT) == ACK
    dump = json.loads(node.run("curl", "-s", "http://127.0.0.1:15000/config_dump"))
    assert dump["workloadState"]["uid-1"]["state"] == "Up"
    metrics = node.run("curl", "-s", "http://127.0.0.1:15020/metrics")
    assert "workload_manager_active_proxy_count 1\n" in metrics
    proxy.send_signal(signal.SIGTERM)
    code, log = finish(proxy)
    assert code == 0, log
    assert pod.listening() == set()


def test_retired_generation_leaves_the_listeners_to_the_next(
    pod: Sandbox, agent: Agent, proxy: subprocess.Popen[str]
) -> None:
    """Listeners that the agent made live on when a generation retires, and refuse nobody."""
    make = (
        "import socket, sys\n"
        "sockets = [socket.create_server(('', port)) for port in (15001, 15006, 15008)]\n"
        "door = socket.socket(fileno=int(sys.argv[1]))\n"
        "socket.send_fds(door, [b'x'], [s.fileno() for s in sockets])\n"
    )
    ours, theirs = socket.socketpair()
    subprocess.run(
        ["nsenter", f"--net={pod.path}", sys.executable, "-c", make, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        check=True,
    )
    _, listeners, _, _ = socket.recv_fds(ours, 1, 3)
    ours.close()
    theirs.close()
    agent.accept()

    with Path(pod.path).open("rb") as netns:
        request = add(b"uid-1", (OUTBOUND, PLAINTEXT, HBONE))
        assert agent.ask(request, [netns.fileno(), *listeners]) == ACK
    assert agent.ask(SNAPSHOT_SENT) == ACK
    assert agent.ask(RETIRE) == ACK
    code, log = finish(proxy)

    assert code == 0, log
    assert "a newer generation has taken over" in log
    assert pod.listening() == set(PORTS.values()), "the agent's copies still listen"
    pod.run("nc", "-z", "127.0.0.1", "15001")
    for listener in listeners:
        os.close(listener)


def test_taken_port_is_refused_with_its_number(
    pod: Sandbox, node: Sandbox, agent: Agent, proxy: subprocess.Popen[str]
) -> None:
    """A pod whose port is taken is answered with the reason, and the proxy is not ready."""
    occupy = (
        "import socket; s = socket.create_server(('', 15006)); print('up', flush=True); input()"
    )
    command = ["nsenter", f"--net={pod.path}", sys.executable, "-c", occupy]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe) as occupant:
        assert occupant.stdout is not None
        assert occupant.stdout.readline() == b"up\n"
        agent.accept()

        with Path(pod.path).open("rb") as netns:
            answer = agent.ask(add(b"uid-1"), [netns.fileno()])
        occupant.communicate(b"\n")

    assert b"failure to start proxy : failed to bind" in answer
    assert b"15006" in answer
    assert agent.ask(SNAPSHOT_SENT) == ACK
    assert "workload proxy manager" in readiness(node)
    proxy.send_signal(signal.SIGINT)
    assert finish(proxy)[0] == 0
