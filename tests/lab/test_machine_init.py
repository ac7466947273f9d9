"""The init keeps its promises: processes, sandboxes and descriptors, also for a new client."""

import asyncio
import errno
import os
import pty
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ambimesh.local.init import sockets
from ambimesh.local.init.client import InitClient, InitRefusedError
from ambimesh.local.init.protocol import Bind, Credentials, Exit, Failure, Spawn
from ambimesh.local.machine import needs_user_namespace
from support.machine import LabMachine, Place, started_machine, wait_exit

pytestmark = pytest.mark.lab

ENV = {"PATH": os.environ["PATH"]}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[LabMachine]:
    """Give a machine with one node."""
    async with started_machine(tmp_path, nodes=1) as machine:
        yield machine


@pytest.fixture
def node(lab: LabMachine) -> Place:
    """Give the node."""
    return lab.node(1)


async def take_exits(init: InitClient, owner: str, count: int) -> list[Exit]:
    """Take the next ``count`` exits of ``owner``."""
    exits = init.exits(owner)
    async with asyncio.timeout(20):
        taken = [await anext(exits) for _ in range(count)]
    await exits.aclose()
    return taken


def shell(key: str, script: str, **options: object) -> Spawn:
    """Give a spawn of a shell script."""
    shape = {"owner": "o", "env": ENV, **options}
    return Spawn(key=key, argv=("sh", "-c", script), **shape)  # type: ignore[arg-type]  # fields of Spawn


@dataclass(frozen=True)
class HostFiles:
    """What a pod could have changed on the machine."""

    resolv: bytes
    run: tuple[str, ...]


def host_files() -> HostFiles:
    """Read it."""
    names = sorted(path.name for path in Path("/run").iterdir())
    return HostFiles(resolv=Path("/etc/resolv.conf").read_bytes(), run=tuple(names))


def make_pod_files(folder: Path) -> None:
    """Write what is bound into a pod."""
    (folder / "resolv.conf").write_text("nameserver 198.18.1.1\n")
    (folder / "token").mkdir()
    (folder / "token" / "token").write_text("secret")


async def test_program_runs_in_the_node_only(node: Place) -> None:
    """A node has its own processes, host name and network: it sees nothing of the machine."""
    done = await node.run("sh", "-c", "hostname; ls -d /proc/[0-9]* | wc -l; ip -br link; exit 3")

    lines = done.output.splitlines()
    assert lines[0] == "node-1"
    assert int(lines[1]) <= 5  # the init, the shell and its pipe
    assert {line.split()[0].partition("@")[0] for line in lines[2:]} == {"lo", "br0", "wan"}
    assert done.exit.code == 3
    assert done.exit.signal is None


async def test_exit_by_signal_is_told_with_the_signal(node: Place) -> None:
    """A killed program is told apart from one that ended by itself."""
    key = await node.start("sleep", "1000")

    await node.init.signal(key, signal.SIGKILL)

    ended = await wait_exit(node.init, key)
    assert (ended.signal, ended.code) == (signal.SIGKILL, 137)


@pytest.mark.parametrize(
    ("spawn", "stage", "number"),
    [
        (Spawn(key="k", owner="o", argv=("no-such-program",), env=ENV), "exec", errno.ENOENT),
        (Spawn(key="k", owner="o", argv=("/etc/passwd",), env=ENV), "exec", errno.EACCES),
        (Spawn(key="k", owner="o", argv=()), "exec", errno.ENOENT),
        (Spawn(key="k", owner="o", argv=("true",), env=ENV, cwd="/nowhere"), "cwd", errno.ENOENT),
        (Spawn(key="k", owner="o", argv=("true",), env=ENV, log="/no/log"), "log", errno.ENOENT),
        (
            Spawn(
                key="k",
                owner="o",
                argv=("true",),
                env=ENV,
                binds=(Bind(source="/nowhere", target="/etc/passwd"),),
            ),
            "mount",
            errno.ENOENT,
        ),
    ],
)
async def test_program_that_cannot_start_says_at_which_step(
    node: Place, spawn: Spawn, stage: str, number: int
) -> None:
    """What fails before the program runs is the answer to the spawn, and leaves no process."""
    with pytest.raises(InitRefusedError) as refused:
        await node.init.spawn(spawn)

    assert (refused.value.failure, refused.value.stage) == (Failure.SYSTEM, stage)
    assert refused.value.errno == number
    assert await node.init.processes() == ()


async def test_key_in_use_is_refused_until_its_exit_is_acknowledged(node: Place) -> None:
    """A key names one process at a time, so a repeated spawn starts nothing twice."""
    await node.init.spawn(shell("k", "exit 0"))
    (ended,) = await take_exits(node.init, "o", 1)

    with pytest.raises(InitRefusedError) as refused:
        await node.init.spawn(shell("k", "exit 0"))
    await node.init.acknowledge(ended.key)
    await node.init.spawn(shell("k", "exit 0"))

    assert refused.value.failure is Failure.EXISTS


async def test_new_client_sees_kept_exits_processes_and_descriptors(
    lab: LabMachine, node: Place
) -> None:
    """An agent that dies loses nothing: exits, running processes, sandboxes and listeners."""
    listener = socket.create_server(("127.0.0.1", 0))
    async with await InitClient.connect(lab.home.init_socket("node-1")) as first:
        os.close(await first.create_sandbox("pod"))
        await first.keep("pod", {"outbound": listener.fileno()})
        await first.spawn(shell("stays", "exec sleep 1000"))
        await first.spawn(shell("ends", "exit 7"))
        await take_exits(first, "o", 1)
    listener_port = listener.getsockname()[1]
    listener.close()

    async with await InitClient.connect(lab.home.init_socket("node-1")) as second:
        (ended,) = await take_exits(second, "o", 1)
        kept = await second.fetch("pod")
        running = [p.key for p in await second.processes("o") if p.exit is None]
        boxes = await second.sandboxes()

    assert (ended.key, ended.code) == ("ends", 7)
    assert running == ["stays"]
    assert boxes == ("pod",)
    again = socket.socket(fileno=kept["outbound"])
    assert again.getsockname()[1] == listener_port
    again.close()


async def test_exits_of_another_owner_are_not_told(node: Place) -> None:
    """The supervisor and the agent share an init and do not see each other's processes."""
    await node.init.spawn(shell("a", "exit 1", owner="one"))
    await node.init.spawn(shell("b", "exit 2", owner="two"))

    (told,) = await take_exits(node.init, "two", 1)

    assert told.key == "b"
    assert [p.key for p in await node.init.processes("one")] == ["a"]


async def test_client_that_reads_late_gets_every_exit(lab: LabMachine, node: Place) -> None:
    """More exits than a socket holds arrive all, once the client reads again."""
    count = 900  # a socket holds some 500
    async with await InitClient.connect(lab.home.init_socket("node-1")) as follower:
        exits = follower.exits("o")
        await node.init.spawn(shell("first", "exit 0"))
        assert (await anext(exits)).key == "first"
        asyncio.get_running_loop().remove_reader(follower._connection)

        for number in range(count):
            await node.init.spawn(shell(f"p{number}", "exit 0"))
        asyncio.get_running_loop().add_reader(follower._connection, follower._receive)
        async with asyncio.timeout(60):
            told = {(await anext(exits)).key for _ in range(count)}
        await exits.aclose()

    assert told == {f"p{number}" for number in range(count)}
    listed = await node.init.processes("o")  # five pages
    assert {state.key for state in listed} == told | {"first"}


async def test_leftovers_of_a_program_end_with_its_leader(node: Place) -> None:
    """What a program leaves in its process group is killed when its leader ends."""
    key = await node.start("sh", "-c", "sleep 1000 & echo $!")
    await wait_exit(node.init, key)
    orphan = node.log(key).read_text().strip()

    async with asyncio.timeout(5):
        while (await node.run("test", "-e", f"/proc/{orphan}")).exit.code == 0:
            pass


async def test_deleted_sandbox_has_killed_daemons_too(lab: LabMachine, node: Place) -> None:
    """A daemon that left its group and its parent still ends with its sandbox."""
    pod = await lab.pod(1, 10)
    assert pod.pod
    script = "setsid sh -c 'echo $$; exec sleep 1000' & wait"
    key = await pod.start("sh", "-c", script)
    await pod.wait_for_line(key, "")
    daemon = pod.log(key).read_text().strip()
    await pod.init.keep(pod.pod.uid, {"x": 0})

    await pod.init.delete_sandbox(pod.pod.uid)

    assert (await node.run("test", "-e", f"/proc/{daemon}")).exit.code == 1
    assert await pod.init.sandboxes() == ()
    assert await pod.init.fetch(pod.pod.uid) == {}
    assert (await wait_exit(pod.init, key)).signal == signal.SIGKILL
    await pod.init.delete_sandbox(pod.pod.uid)  # again: nothing to do


async def test_sandbox_that_does_not_exist_is_refused(node: Place) -> None:
    """Neither a descriptor nor a process can be had from a sandbox nobody made."""
    with pytest.raises(InitRefusedError) as opened:
        await node.init.open_sandbox("none")
    with pytest.raises(InitRefusedError) as spawned:
        await node.init.spawn(shell("k", "exit 0", sandbox="none"))

    assert opened.value.failure is spawned.value.failure is Failure.NOT_FOUND


async def test_bound_files_are_seen_inside_and_nothing_is_made_on_the_host(
    lab: LabMachine, tmp_path: Path
) -> None:
    """A pod has its own resolv.conf and token; the host's files and directories do not change."""
    make_pod_files(tmp_path)
    before = host_files()
    target = "/var/run/secrets/kubernetes.io/serviceaccount"
    node = lab.node(1)
    script = f"cat /etc/resolv.conf {target}/token; hostname; ls /var/run; touch {target}/x"

    await node.init.spawn(
        shell(
            "k",
            script,
            log=str(node.log("k")),
            hostname="web",
            binds=(
                Bind(source=str(tmp_path / "resolv.conf"), target="/etc/resolv.conf"),
                Bind(source=str(tmp_path / "token"), target=target, read_only=True),
            ),
        )
    )
    await take_exits(node.init, "o", 1)

    said = node.log("k").read_text().splitlines()
    assert said[:2] == ["nameserver 198.18.1.1", "secretweb"]
    assert set(before.run) < set(said)
    assert "Read-only file system" in said[-1]
    assert host_files() == before
    assert (await node.run("hostname")).output.strip() == "node-1"


async def test_program_runs_as_another_user(node: Place) -> None:
    """Without root too, a program can be uid 1000 of a user namespace of its own."""
    credentials = Credentials(uid=1000, gid=1000, nested=needs_user_namespace())

    await node.init.spawn(
        shell(
            "k",
            "id -u; id -g; grep CapEff /proc/self/status",
            log=str(node.log("k")),
            credentials=credentials,
        )
    )
    await take_exits(node.init, "o", 1)

    uid, gid, capabilities = node.log("k").read_text().splitlines()
    assert (uid, gid) == ("1000", "1000")
    assert int(capabilities.split()[1], 16) == 0


async def test_terminal_is_the_programs_own(node: Place) -> None:
    """A program that is given a terminal has it as its controlling terminal."""
    outer, inner = pty.openpty()
    try:
        spawn = shell("k", "echo on $(ps -o tty= $$)", terminal=True, descriptors=(0, 1, 2))
        await node.init.spawn(spawn, (inner, inner, inner))
        await take_exits(node.init, "o", 1)
        said = os.read(outer, 1000).decode().strip()
    finally:
        os.close(outer)
        os.close(inner)

    assert said.startswith("on pts/")


async def test_descriptors_get_their_numbers_and_no_others_are_open(node: Place) -> None:
    """A program has exactly the descriptors it was given, also when the numbers cross."""
    one, two = os.pipe(), os.pipe()
    spawn = shell(
        "k",
        "ls /proc/self/fd; echo five >&5; echo four >&4",
        log=str(node.log("k")),
        descriptors=(5, 4),
    )

    await node.init.spawn(spawn, (one[1], two[1]))
    await take_exits(node.init, "o", 1)

    assert os.read(one[0], 100) == b"five\n"
    assert os.read(two[0], 100) == b"four\n"
    assert node.log("k").read_text().split() == ["0", "1", "2", "3", "4", "5"]  # 3: of ls
    for descriptor in (*one, *two):
        os.close(descriptor)


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"id": 1}', b'{"id": 1, "do": "fly", "with": {}}', b"\xff" * 1000]
)
async def test_nonsense_harms_nobody(lab: LabMachine, node: Place, data: bytes) -> None:
    """A client that sends what is not a request is answered or dropped; the init lives on."""
    with sockets.connect(lab.home.init_socket("node-1")) as connection:
        connection.setblocking(True)
        connection.settimeout(5)
        connection.send(data)
        answer = connection.recv(10_000)

    assert answer == b"" or b"bad_request" in answer
    assert (await node.run("true")).exit.code == 0


async def test_request_that_does_not_fit_is_refused_before_it_is_sent(node: Place) -> None:
    """An environment beyond the size of a message is an error with its size, not a hang."""
    with pytest.raises(ValueError, match="do not fit"):
        await node.init.spawn(shell("k", "exit 0", env={"BIG": "x" * 300_000}))
