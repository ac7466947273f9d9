"""The supervisor and its commands, with stand-ins for the parts of the mesh."""

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.local.detached import start_detached
from ambimesh.local.home import Home
from ambimesh.local.init.client import InitClient
from support import stand_in_mesh
from support.machine import SOURCE, processes_below

pytestmark = pytest.mark.lab

ENV = {**os.environ, "PYTHONPATH": f"{SOURCE}:{SOURCE.parent / 'tests'}"}
STAND_IN = (sys.executable, stand_in_mesh.__file__)


@dataclass(frozen=True)
class Mesh:
    """A mesh that runs in the background of a test."""

    home: Home
    supervisor: subprocess.Popen[str]

    def file(self) -> dict[str, Any]:
        """Read mesh.json."""
        shape: dict[str, Any] = json.loads(self.home.mesh_file.read_text())
        return shape

    def part(self, name: str) -> dict[str, Any]:
        """Read the status of one part."""
        (found,) = [part for part in self.file()["components"] if part["name"] == name]
        return dict(found)

    def node_is_ready(self, name: str) -> bool:
        """Tell what the last status written to the API says of a node."""
        ready = False
        for line in (self.home.root / "objects.jsonl").read_text().splitlines():
            what, body = json.loads(line)
            if what == f"Node /{name}" and "status" in body:
                ready = body["status"]["conditions"][0]["status"] == "True"
        return ready


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Give a home that does not exist yet."""
    return Home(tmp_path / "home")


@contextmanager
def started(home: Home, nodes: int = 2) -> Iterator[Mesh]:
    """Run a mesh in the foreground of another process; it is ready in the block."""
    command = [*STAND_IN, str(home.root), str(nodes), "0"]
    with subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, text=True) as supervisor:
        try:
            assert supervisor.stdout
            assert supervisor.stdout.readline().startswith("READY https://127.0.0.1:")
            yield Mesh(home, supervisor)
        finally:
            supervisor.terminate()


@pytest.fixture
def mesh(home: Home) -> Iterator[Mesh]:
    """Give a mesh of two nodes."""
    with started(home) as running:
        yield running


def ambi(*arguments: str, home: Home) -> subprocess.CompletedProcess[str]:
    """Run a command of ours to its end."""
    command = [sys.executable, "-m", "ambimesh.cli.main", *arguments, "--home", str(home.root)]
    return subprocess.run(command, env=ENV, capture_output=True, text=True, check=False)


def stand_in(
    home: Home, *, env: Mapping[str, str] = ENV, port: int = 0, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run a mesh that is expected not to start."""
    command = [*prefix, *STAND_IN, str(home.root), "1", str(port)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something is so that no event tells of."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come to be"
        time.sleep(0.02)


@contextmanager
def all_end(pids: set[int], seconds: float) -> Iterator[None]:
    """Check that all these processes have ended soon after the block."""
    ends = []
    for pid in pids:
        with suppress(ProcessLookupError):  # a short-lived one
            ends.append(os.pidfd_open(pid))
    yield
    deadline = time.monotonic() + seconds
    gone = [bool(select.select([e], [], [], deadline - time.monotonic())[0]) for e in ends]
    for end in ends:
        os.close(end)
    assert gone
    assert all(gone)


def test_mesh_is_ready_serves_and_leaves_nothing(mesh: Mesh) -> None:
    """Up, status, down: the whole life, and afterwards no process, mount or socket is left."""
    mounts = Path("/proc/self/mounts").read_text()
    pids = processes_below(mesh.supervisor.pid)
    with socket.create_connection(("127.0.0.1", mesh.file()["api_port"])) as api:
        assert api.recv(5) == b"hello"

    table = ambi("status", home=mesh.home)
    shape = json.loads(ambi("status", "-o", "json", home=mesh.home).stdout)
    with all_end({*pids, mesh.supervisor.pid}, seconds=0.2):
        down = ambi("down", home=mesh.home)

    assert table.returncode == 0
    assert table.stdout.splitlines()[0].startswith("mesh ready: 2 nodes")
    assert [part["name"] for part in shape["components"]] == [
        "apiserver",
        "controlplane",
        "node-1",
        "node-2",
    ]
    assert shape["ready"]
    assert shape["rootless"] == (os.geteuid() != 0)
    assert down.returncode == 0
    assert mesh.supervisor.wait() == 0
    assert "asked to end" in mesh.home.log_file("pod-of-node-2").read_text()
    assert not mesh.home.mesh_file.exists()
    assert list(mesh.home.run.iterdir()) == []
    assert Path("/proc/self/mounts").read_text() == mounts
    assert ambi("down", home=mesh.home).returncode == 0
    assert ambi("status", home=mesh.home).returncode == 3


def test_first_objects_say_what_the_nodes_are(mesh: Mesh) -> None:
    """Nodes have addresses, capacity and Ready; the control plane has a service and endpoints."""
    lines = (mesh.home.root / "objects.jsonl").read_text().splitlines()
    objects = dict(json.loads(line) for line in lines)

    status = objects["Node /node-2"]["status"]
    assert [a["address"] for a in status["addresses"]] == [
        "198.18.0.3",
        "fd98:616d:6269::3",
        "node-2",
    ]
    assert status["capacity"]["pods"] == "245"
    assert mesh.node_is_ready("node-2")
    endpoints = objects["EndpointSlice istio-system/istiod-ipv4"]["endpoints"]
    assert endpoints[0]["addresses"] == ["198.18.0.1"]


def test_killed_supervisor_leaves_nothing_and_can_be_started_again(home: Home) -> None:
    """Kill -9 of the supervisor ends everything within a second; down and up work after it."""
    with started(home) as mesh:
        with all_end(processes_below(mesh.supervisor.pid), seconds=1.0):
            mesh.supervisor.kill()
        mesh.supervisor.wait()
        assert ambi("status", home=home).returncode == 3
        assert home.mesh_file.exists()

        assert ambi("down", home=home).returncode == 0
        assert not home.mesh_file.exists()
        assert list(home.run.iterdir()) == []

    with started(home) as again:
        assert again.file()["state"] == "ready"


def test_killed_supervisor_is_no_obstacle_to_the_next(home: Home) -> None:
    """What a killed supervisor left is replaced, without a down between."""
    with started(home) as mesh:
        mesh.supervisor.kill()
        mesh.supervisor.wait()

        with started(home) as again:
            assert again.file()["state"] == "ready"


async def test_killed_parts_come_back(mesh: Mesh) -> None:
    """Every part is started again; the API keeps its port and pods live through their agent."""
    port = mesh.file()["api_port"]
    async with await InitClient.connect(mesh.home.init_socket("fabric")) as fabric:
        await fabric.signal("component/apiserver", signal.SIGKILL)
    eventually(lambda: mesh.part("apiserver")["restarts"] == 1)
    eventually(lambda: mesh.part("apiserver")["state"] == "ready")
    async with await InitClient.connect(mesh.home.init_socket("node-1")) as node:
        (pod,) = await node.processes("pods")
        await node.signal("component/node-1", signal.SIGKILL)
        eventually(lambda: not mesh.node_is_ready("node-1"))
        eventually(lambda: mesh.node_is_ready("node-1"))
        (same,) = await node.processes("pods")

    with socket.create_connection(("127.0.0.1", port)) as api:
        assert api.recv(5) == b"hello"
    assert mesh.part("apiserver")["last_exit"] == "signal 9"
    assert same == pod
    assert ambi("status", home=mesh.home).returncode == 0


async def test_part_that_stays_broken_shows_in_status(mesh: Mesh) -> None:
    """A part that cannot come back is tried again and again, and status says so."""
    (mesh.home.root / "break-controlplane").touch()
    async with await InitClient.connect(mesh.home.init_socket("fabric")) as fabric:
        await fabric.signal("component/controlplane", signal.SIGKILL)
    eventually(lambda: mesh.part("controlplane")["restarts"] >= 3)

    broken = ambi("status", home=mesh.home)
    (mesh.home.root / "break-controlplane").unlink()
    eventually(lambda: mesh.part("controlplane")["state"] == "ready")

    assert broken.returncode == 1
    assert "restarting" in broken.stdout


async def lose_node(home: Home, node: str) -> None:
    """Kill the first process of a node."""
    async with await InitClient.connect(home.init_socket("fabric")) as fabric:
        await fabric.signal(f"init/{node}", signal.SIGKILL)


def test_lost_node_ends_the_mesh_with_its_name(home: Home) -> None:
    """When the first process of a node ends, the mesh ends whole and says which node it was."""
    command = [*STAND_IN, str(home.root), "2", "0"]
    with subprocess.Popen(
        command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout
        assert supervisor.stdout.readline().startswith("READY")
        with all_end(processes_below(supervisor.pid), seconds=10):
            asyncio.run(lose_node(home, "node-2"))
        _, said = supervisor.communicate(timeout=20)

    assert supervisor.returncode == 1
    assert "error[AMB0405]: the first process of node-2 ended" in said


@pytest.mark.parametrize("part", ["apiserver", "controlplane", "node-1"])
def test_part_that_cannot_start_is_one_error(home: Home, part: str) -> None:
    """A part that ends at once is named with what it said last; nothing is left."""
    home.create()
    (home.root / f"break-{part}").touch()

    done = stand_in(home)

    assert done.returncode == 1
    assert f"error[AMB0403]: part {part} of the mesh ended before it was ready" in done.stderr
    assert f"cause: {part} is broken" in done.stderr
    assert not home.mesh_file.exists()


def test_second_mesh_in_a_home_is_refused(mesh: Mesh) -> None:
    """A home has one mesh; the refusal names the one that runs, which is not disturbed."""
    done = stand_in(mesh.home)

    assert done.returncode == 2
    assert "error[AMB0402]" in done.stderr
    assert f"pid {mesh.supervisor.pid}" in done.stderr
    assert ambi("status", home=mesh.home).returncode == 0


def test_port_in_use_is_one_error(home: Home) -> None:
    """A taken port is refused before anything is started."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = stand_in(home, port=port)

    assert done.returncode == 1
    assert f"error[AMB0105]: port {port} of 127.0.0.1" in done.stderr


def test_missing_nft_is_one_error(home: Home, tmp_path: Path) -> None:
    """Without nft nothing is started."""
    hide = 'mount -t tmpfs none /usr/sbin && mount -t tmpfs none /usr/local/sbin && exec "$@"'
    done = stand_in(home, prefix=("unshare", "-Urm", "sh", "-c", hide, "sh"))

    assert done.returncode == 1
    assert "error[AMB0101]" in done.stderr
    assert not home.root.exists()


def test_home_that_cannot_be_made_is_one_error() -> None:
    """A home where nobody may write is refused with the kernel's words."""
    done = stand_in(Home(Path("/proc/ambimesh")))

    assert done.returncode == 1
    assert "error[AMB0104]: the home directory /proc/ambimesh cannot be written" in done.stderr


def test_full_disk_is_one_error(tmp_path: Path) -> None:
    """A home on a full disk is refused as that."""
    full = tmp_path / "full"
    full.mkdir()
    script = (
        f"mount -t tmpfs -o size=16k,nr_inodes=20 none {full} && "
        f'(cat /dev/zero > {full}/ballast 2> /dev/null || true) && exec "$@"'
    )
    done = stand_in(Home(full / "home"), prefix=("unshare", "-Urm", "sh", "-c", script, "sh"))

    assert done.returncode == 1
    assert "error[AMB0106]: there is no space left" in done.stderr


def test_closed_user_namespaces_are_one_error(home: Home) -> None:
    """An ordinary user of a machine without user namespaces is told how to open them."""
    script = (
        "echo 0 > /proc/sys/user/max_user_namespaces && "
        'exec setpriv --no-new-privs --bounding-set=-all --inh-caps=-all "$@"'
    )
    done = stand_in(home, prefix=("unshare", "-Ur", "sh", "-c", script, "sh"))

    assert done.returncode == 1
    assert "error[AMB0102]" in done.stderr
    assert "max_user_namespaces" in done.stderr


def test_covered_proc_is_one_error(home: Home) -> None:
    """In a container that covers parts of /proc a node cannot live; that is what is said."""
    user = "unshare --user --map-user=1000 --map-group=1000"  # without rights over these mounts
    script = f'mount -t tmpfs none /proc/tty && exec {user} "$@"'
    container = ("unshare", "-Urmpf", "--kill-child", "--mount-proc", "sh", "-c", script, "sh")
    done = stand_in(home, prefix=container)

    assert done.returncode == 1
    assert "error[AMB0103]: this machine refuses the own /proc" in done.stderr
    assert "Operation not permitted" in done.stderr


def test_detached_start_returns_when_ready_and_the_mesh_runs_on(home: Home) -> None:
    """The one who starts a mesh hears of each step, and the mesh outlives them."""
    home.create()
    heard: list[str] = []

    failure = start_detached(
        (*STAND_IN, str(home.root), "1", "0"), home, seconds=60, report=heard.append
    )

    assert failure is None
    assert any(line.startswith("starting node-1: done") for line in heard)
    assert ambi("status", home=home).returncode == 0
    assert ambi("down", home=home).returncode == 0


def test_detached_start_that_fails_gives_the_error(home: Home) -> None:
    """What is wrong reaches the one who started the mesh, with its exit code."""
    home.create()
    (home.root / "break-apiserver").touch()

    failure = start_detached(
        (*STAND_IN, str(home.root), "1", "0"), home, seconds=60, report=lambda _: None
    )

    assert failure is not None
    assert failure.code == 1
    assert "AMB0403" in failure.text


def test_detached_start_that_takes_too_long_is_ended(home: Home) -> None:
    """After the timeout nothing of the start is left, and the log is shown."""
    home.create()
    forever = (sys.executable, "-c", "import time; print('stuck', flush=True); time.sleep(4242)")

    with pytest.raises(EnvironmentFaultError) as fault:
        start_detached(forever, home, seconds=1, report=lambda _: None)

    assert fault.value.problem.code == "AMB0406"
    assert "stuck" in fault.value.problem.cause


def test_supervisor_that_does_not_end_is_killed_by_down(mesh: Mesh) -> None:
    """A stopped supervisor does not keep anything alive: down gets hard after its timeout."""
    pids = processes_below(mesh.supervisor.pid)
    mesh.supervisor.send_signal(signal.SIGSTOP)

    with all_end(pids, seconds=1.0):
        done = ambi("down", "--timeout", "0.5", home=mesh.home)

    assert done.returncode == 0
    assert "killing it" in done.stderr
    assert mesh.supervisor.wait() == -signal.SIGKILL
