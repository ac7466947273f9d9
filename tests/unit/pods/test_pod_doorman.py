"""What comes through a node's door: real programs, files and sockets, over a fake init."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from ambimesh.kube.core import Container, Pod, PodSpec
from ambimesh.kube.meta import Metadata
from ambimesh.local import addresses
from ambimesh.local.door import (
    Channel,
    DoorConnection,
    DoorRequest,
    DoorServer,
    DoorStatus,
    decode_status,
    open_door,
)
from ambimesh.local.pods.doorman import Doorman
from ambimesh.local.pods.plan import PodPlace
from ambimesh.local.pods.pod_status import ContainerView
from ambimesh.node.namespace import NetworkNamespace
from support.fake_init import NO_PROGRAM, FakeInit, board


@dataclass
class FakeRun:
    """How a container is."""

    view: ContainerView = field(default_factory=lambda: ContainerView(name="app"))


@dataclass
class FakeWorker:
    """The pod demo/web, whose namespace is that of this process."""

    place: PodPlace
    sandbox: int
    run: FakeRun = field(default_factory=FakeRun)
    pod: Pod = field(
        default_factory=lambda: Pod(
            metadata=Metadata(name="web", namespace="demo", uid="u1"),
            spec=PodSpec(containers=(Container(name="app", command=("app",)),)),
        )
    )

    def container(self, name: str) -> Container | None:
        """Find the container."""
        return self.pod.spec.containers[0] if name in {"", "app"} else None

    def container_run(self, name: str) -> FakeRun | None:
        """Find how it is."""
        return self.run


@dataclass
class Rig:
    """A door and what is behind it."""

    path: Path
    init: FakeInit
    worker_found: FakeWorker

    def worker(self, uid: str) -> FakeWorker | None:
        """Find the worker of a pod, as the runtime does."""
        return self.worker_found if uid == "u1" else None

    def write_log(self, text: str, mode: str = "a") -> None:
        """Let the container say something."""
        with (self.worker_found.place.folder / "app.log").open(mode) as file:
            file.write(text)

    async def open(self, op: str, **more: Any) -> DoorConnection | DoorStatus:
        """Open the door."""
        shape = {"namespace": "demo", "pod": "web", "uid": "u1", **more}
        return await open_door(self.path, DoorRequest(op=op, **shape))  # type: ignore[arg-type] # any op

    async def connected(self, op: str, **more: Any) -> DoorConnection:
        """Open the door, which must open."""
        opened = await self.open(op, **more)
        assert isinstance(opened, DoorConnection), opened
        return opened

    async def said(self, op: str, **more: Any) -> tuple[str, str, DoorStatus]:
        """Give all that one operation said, and how it ended."""
        return await everything(await self.connected(op, **more))


async def everything(connection: DoorConnection) -> tuple[str, str, DoorStatus]:
    """Read a connection to its end."""
    out = {Channel.STDOUT: b"", Channel.STDERR: b""}
    async with asyncio.timeout(10):
        while frame := await connection.read():
            if frame.channel is Channel.STATUS:
                connection.close()
                status = decode_status(frame.payload)
                return out[Channel.STDOUT].decode(), out[Channel.STDERR].decode(), status
            if frame.channel in out:
                out[frame.channel] += frame.payload
    raise AssertionError("no status")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """A door with the pod demo/web behind it."""
    async with opened(tmp_path) as made:
        yield made


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Rig]:
    """Serve a door for the length of the block."""
    init = FakeInit(runs_programs=True)
    place = PodPlace(
        folder=folder, own=addresses.pod(1, 10), nameserver=addresses.gateway(1),
        rootless_uid=None,
    )  # fmt: skip
    with NetworkNamespace.current() as network:
        made = Rig(folder / "door", init, FakeWorker(place, network.fileno()))
        async with board(init) as exits, asyncio.TaskGroup() as tasks:
            doorman = Doorman(cast("Any", made), init.client, exits)
            started = asyncio.Event()
            server = DoorServer(made.path, doorman.handle)
            serving = tasks.create_task(server.run(started=started.set))
            await started.wait()
            yield made
            serving.cancel()


@pytest.mark.parametrize(
    ("op", "more", "code", "text"),
    [
        ("exec", {"uid": "other", "command": ("true",)}, 404, "does not run on this node"),
        ("exec", {"container": "x", "command": ("true",)}, 400, "has no container x"),
        ("logs", {"timestamps": True}, 400, "time of log lines is not kept"),
        ("attach", {"stdin": True}, 400, "no standard input"),
        ("portforward", {"port": 1}, 502, "port 1: Connection refused"),
    ],
)
async def test_impossible_requests_are_refused(
    rig: Rig, op: str, more: dict[str, Any], code: int, text: str
) -> None:
    """Each with its own code and words."""
    refusal = await rig.open(op, **more)
    assert isinstance(refusal, DoorStatus)
    assert refusal.code == code
    assert text in refusal.message


@pytest.mark.parametrize("op", ["exec", "portforward"])
async def test_pod_without_a_sandbox_cannot_be_entered(rig: Rig, op: str) -> None:
    """Otherwise the node's own network would be entered in its place."""
    rig.worker_found.sandbox = -1
    refusal = await rig.open(op, command=("true",), port=1)
    assert refusal == DoorStatus(code=400, message="pod web is not running")


async def test_command_runs_with_streams_and_exit_code(rig: Rig) -> None:
    """What it says on either stream comes apart, and its code comes last."""
    out, err, status = await rig.said(
        "exec", command=("sh", "-c", "echo one; echo two >&2; exit 3")
    )  # fmt: skip
    assert (out, err) == ("one\n", "two\n")
    assert (status.code, status.exit_code) == (500, 3)
    assert rig.init.processes_by_key == {}


@pytest.mark.parametrize("outputs", [{"stdout": False}, {"stdout": False, "stderr": False}])
async def test_command_may_have_no_output(rig: Rig, outputs: dict[str, bool]) -> None:
    """Streams that nobody asked for are not there."""
    out, _, status = await rig.said("exec", command=("echo", "x"), **outputs)
    assert (out, status.exit_code) == ("", 0)


async def test_input_goes_to_the_command_and_ends(rig: Rig) -> None:
    """A megabyte passes whole; the end of input is seen."""
    data = bytes(range(256)) * 4096
    connection = await rig.connected("exec", command=("wc", "-c"), stdin=True)
    await connection.send(Channel.STDIN, data)
    await connection.finish(Channel.STDIN)
    out, _, status = await everything(connection)
    assert (int(out), status.code) == (len(data), 200)


async def test_terminal_has_the_size_it_is_given(rig: Rig) -> None:
    """Rows and columns arrive, also while the program runs."""
    connection = await rig.connected(
        "exec", command=("sh", "-c", "read x; stty size"), stdin=True, tty=True
    )  # fmt: skip
    size = json.dumps({"Width": 101, "Height": 33}).encode()
    await connection.send(Channel.RESIZE, size)
    await connection.send(Channel.STDIN, b"go\n")
    out, _, status = await everything(connection)
    assert out.split()[-2:] == ["33", "101"]
    assert status.exit_code == 0


async def test_command_that_does_not_exist_has_the_shells_code(rig: Rig) -> None:
    """127, and the program's name."""
    rig.init.refusals = [NO_PROGRAM]
    refusal = await rig.open("exec", command=("nothing",))
    assert isinstance(refusal, DoorStatus)
    assert refusal.exit_code == 127
    assert refusal.message.startswith("nothing: ")


@pytest.mark.parametrize("command", ["sleep 1000", "while :; do echo x; done"])
async def test_client_that_goes_away_takes_its_command_along(rig: Rig, command: str) -> None:
    """Quiet or talking, nothing runs on for nobody, and nothing stays noted."""
    connection = await rig.connected("exec", command=("sh", "-c", command))
    connection.close()
    async with asyncio.timeout(5):
        while rig.init.processes_by_key:  # noqa: ASYNC110  # a fake has no condition to wait for
            await asyncio.sleep(0.001)


async def test_broken_frame_ends_the_command(rig: Rig) -> None:
    """A client that does not speak the protocol is told so; its program ends."""
    connection = await rig.connected("exec", command=("sleep", "1000"))
    await connection.send(Channel.RESIZE, b"no size")
    _, _, status = await everything(connection)
    assert status.code != 200
    assert rig.init.processes_by_key == {}


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, "one\ntwo\nthree\n"),
        ({"tail_lines": 2}, "two\nthree\n"),
        ({"tail_lines": 0}, ""),
        ({"tail_lines": 9}, "one\ntwo\nthree\n"),
        ({"limit_bytes": 5}, "one\nt"),
        ({"limit_bytes": 0}, ""),
        ({"previous": True}, "before\n"),
    ],
)
async def test_logs(rig: Rig, more: dict[str, Any], expected: str) -> None:
    """All of it, the last lines, the first bytes, or of the run before."""
    rig.write_log("one\ntwo\nthree\n")
    (rig.worker_found.place.folder / "app.previous.log").write_text("before\n")
    out, _, status = await rig.said("logs", **more)
    assert (out, status.code) == (expected, 200)


async def test_logs_of_a_container_that_said_nothing_are_empty(rig: Rig) -> None:
    """There is no file yet."""
    assert (await rig.said("logs"))[0] == ""


async def test_followed_log_goes_on_after_a_restart_and_ends_with_the_container(rig: Rig) -> None:
    """A new run begins a new file; its words come all the same."""
    rig.write_log("first run, long\n")
    connection = await rig.connected("logs", follow=True)
    frame = await connection.read()
    assert frame
    assert frame.payload == b"first run, long\n"

    rig.write_log("second\n", mode="w")
    rig.worker_found.run.view = rig.worker_found.run.view.with_changes(is_over=True)

    assert (await everything(connection))[0] == "second\n"


async def test_forwarded_connection_carries_both_ways_and_half_closes(rig: Rig) -> None:
    """An echo that answers only after the end of input."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.read()).upper())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await rig.connected("portforward", port=port)
        await connection.send(Channel.STDIN, b"hello")
        await connection.finish(Channel.STDIN)
        out, _, status = await everything(connection)
    assert (out, status.code) == ("HELLO", 200)


async def test_forwarded_connection_ends_when_its_client_goes_away(rig: Rig) -> None:
    """The program behind the port hears of it, and nothing waits for ever."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        ended.set()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await rig.connected("portforward", port=port)
        connection.close()
        async with asyncio.timeout(5):
            await ended.wait()
