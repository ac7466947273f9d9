"""What comes through a node's door: commands run in pods, their logs, connections to their ports."""

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import socket
import struct
import termios
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from ambimesh.local.door import (
    CHUNK_BYTES,
    Channel,
    DoorConnection,
    DoorRequest,
    DoorStatus,
    decode_size,
)
from ambimesh.local.exit_board import ExitBoard
from ambimesh.local.init.client import InitClient, InitRefusedError
from ambimesh.local.pods.plan import container_spawn, log_file
from ambimesh.local.pods.pod_worker import PodWorker
from ambimesh.local.pods.probes import connect_in
from ambimesh.local.pods.runtime import PodRuntime

FOLLOW_SECONDS = 0.1
_NUMBERS = count(1)


class Doorman:
    """Serves the requests of a node's door."""

    def __init__(self, runtime: PodRuntime, init: InitClient, exits: ExitBoard) -> None:
        self._runtime = runtime
        self._init = init
        self._exits = exits

    async def handle(self, request: DoorRequest, connection: DoorConnection) -> DoorStatus:
        """Do one operation and say how it ended."""
        worker = self._runtime.worker(request.uid)
        if worker is None:
            return DoorStatus(code=404, message=f"pod {request.pod} does not run on this node")
        if why := _impossible(worker, request):
            return _bad(why)
        match request.op:
            case "exec":
                return await self._exec(worker, request, connection)
            case "attach":
                return await self._attach(worker, request, connection)
            case "portforward":
                return await _forward(worker, request, connection)
            case "logs":
                return await _logs(worker, request, connection)

    async def _exec(
        self, worker: PodWorker, request: DoorRequest, connection: DoorConnection
    ) -> DoorStatus:
        container = worker.container(request.container)
        assert container is not None
        key = f"exec/{os.getpid()}/{next(_NUMBERS)}"
        spawn = replace(
            container_spawn(worker.pod, container, worker.place, start=0),
            key=key, argv=request.command, log=None,
        )  # fmt: skip
        streams = _Terminal() if request.tty else _Pipes(request)
        try:
            await self._init.spawn(
                replace(spawn, descriptors=streams.numbers, terminal=request.tty), streams.theirs
            )
        except InitRefusedError as error:
            streams.close()
            code = 127 if error.stage == "exec" else 126
            return DoorStatus(code=400, message=f"{request.command[0]}: {error}", exit_code=code)
        finally:
            streams.close_theirs()
        await connection.start()
        return await self._converse(key, streams, connection)

    async def _converse(
        self, key: str, streams: "_Streams", connection: DoorConnection
    ) -> DoorStatus:
        """Move bytes until the program has ended and everything it said is sent."""
        try:
            async with asyncio.TaskGroup() as tasks:
                reading = tasks.create_task(self._take_frames(key, streams, connection))
                sending = [
                    tasks.create_task(_send_all(descriptor, channel, connection))
                    for channel, descriptor in streams.outputs.items()
                ]
                ended = await self._exits.wait(key)
                if sending:
                    await asyncio.wait(sending)
                reading.cancel()
        finally:
            streams.close()
            await self._end(key)
        return DoorStatus(code=200 if ended.code == 0 else 500, exit_code=ended.code)

    async def _take_frames(self, key: str, streams: "_Streams", connection: DoorConnection) -> None:
        while frame := await connection.read():
            match frame.channel:
                case Channel.STDIN:
                    await streams.write(frame.payload)
                case Channel.CLOSE if frame.payload == bytes((Channel.STDIN,)):
                    streams.end_input()
                case Channel.RESIZE:
                    size = decode_size(frame.payload)
                    streams.resize(size.height, size.width)
        await self._kill(key)  # the client has gone: its program is not to go on alone

    async def _end(self, key: str) -> None:
        """Leave nothing of a program, however its operation ended."""
        await self._kill(key)
        await self._exits.take(key)

    async def _kill(self, key: str) -> None:
        with contextlib.suppress(InitRefusedError):  # it has ended by itself
            await self._init.signal(key, signal.SIGKILL)

    async def _attach(
        self, worker: PodWorker, request: DoorRequest, connection: DoorConnection
    ) -> DoorStatus:
        if request.stdin:
            return _bad("a pod's programs have no standard input; use exec")
        following = DoorRequest(
            op="logs", namespace=request.namespace, pod=request.pod, uid=request.uid,
            container=request.container, follow=True, tail_lines=0,
        )  # fmt: skip
        return await _logs(worker, following, connection)


class _Streams:
    """Descriptors of a program: ``theirs`` go to it, with ``numbers``; the rest are ours."""

    theirs: list[int]
    numbers: tuple[int, ...]
    outputs: dict[Channel, int]
    input: int

    def close_theirs(self) -> None:
        for descriptor in self.theirs:
            os.close(descriptor)
        self.theirs = []

    async def write(self, data: bytes) -> None:
        if self.input >= 0:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(_write_all, self.input, data)

    def end_input(self) -> None:
        if self.input >= 0:
            os.close(self.input)
            self.input = -1

    def resize(self, rows: int, columns: int) -> None:
        """Nothing to do but for terminals."""

    def close(self) -> None:
        self.end_input()
        for descriptor in self.outputs.values():
            os.close(descriptor)
        self.outputs = {}


class _Pipes(_Streams):
    def __init__(self, request: DoorRequest) -> None:
        self.theirs, self.outputs, self.input = [], {}, -1
        numbers = []
        if request.stdin:
            theirs, self.input = os.pipe()
            self.theirs.append(theirs)
            numbers.append(0)
        for channel, wanted in ((Channel.STDOUT, request.stdout), (Channel.STDERR, request.stderr)):
            if wanted:
                ours, theirs = os.pipe()
                self.outputs[channel] = ours
                self.theirs.append(theirs)
                numbers.append(int(channel))
        self.numbers = tuple(numbers)


class _Terminal(_Streams):
    def __init__(self) -> None:
        ours, theirs = pty.openpty()
        self.theirs = [theirs, os.dup(theirs), os.dup(theirs)]
        self.numbers = (0, 1, 2)
        self.outputs = {Channel.STDOUT: ours}
        self.input = os.dup(ours)

    def end_input(self) -> None:
        """A terminal has no half-close; the program sees the end with the terminal's."""

    def resize(self, rows: int, columns: int) -> None:
        with contextlib.suppress(OSError):
            size = struct.pack("HHHH", rows, columns, 0, 0)
            fcntl.ioctl(self.input, termios.TIOCSWINSZ, size)

    def close(self) -> None:
        super().close()
        if self.input >= 0:
            os.close(self.input)
            self.input = -1


async def _send_all(descriptor: int, channel: Channel, connection: DoorConnection) -> None:
    with contextlib.suppress(ConnectionError):  # the client has gone; who reads from it knows
        async for data in _chunks(descriptor):
            await connection.send(channel, data)
        await connection.finish(channel)


async def _chunks(descriptor: int) -> AsyncIterator[bytes]:
    """Read a pipe or terminal to its end (a terminal's end is an error)."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        while True:
            await readable.wait()
            readable.clear()
            try:
                while data := os.read(descriptor, CHUNK_BYTES):
                    yield data
            except BlockingIOError:
                continue
            except OSError:
                return
            return
    finally:
        loop.remove_reader(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


async def _forward(
    worker: PodWorker, request: DoorRequest, connection: DoorConnection
) -> DoorStatus:
    try:
        connected = await connect_in(worker.sandbox, "127.0.0.1", request.port)
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        return DoorStatus(code=502, message=f"pod {request.pod} port {request.port}: {why}")
    loop = asyncio.get_running_loop()
    await connection.start()
    with connected:
        async with asyncio.TaskGroup() as tasks:

            async def inward() -> None:
                with contextlib.suppress(OSError):  # the program has closed; who reads knows
                    while frame := await connection.read():
                        if frame.channel is Channel.STDIN:
                            await loop.sock_sendall(connected, frame.payload)
                        elif frame.channel is Channel.CLOSE:
                            connected.shutdown(socket.SHUT_WR)
                    connected.shutdown(socket.SHUT_RDWR)  # the client has gone

            taking = tasks.create_task(inward())
            with contextlib.suppress(ConnectionError):
                while data := await loop.sock_recv(connected, CHUNK_BYTES):
                    await connection.send(Channel.STDOUT, data)
                await connection.finish(Channel.STDOUT)
            taking.cancel()
    return DoorStatus()


async def _logs(worker: PodWorker, request: DoorRequest, connection: DoorConnection) -> DoorStatus:
    if request.timestamps or request.since_seconds or request.since_time:
        return _bad("the time of log lines is not kept; leave out timestamps and since")
    container = worker.container(request.container)
    assert container is not None
    path = log_file(worker.place.folder, container.name, previous=request.previous)
    await connection.start()
    async with asyncio.TaskGroup() as tasks:
        gone = tasks.create_task(_until_gone(connection))
        sending = tasks.create_task(_send_log(path, worker, request, connection))
        await asyncio.wait([gone, sending], return_when=asyncio.FIRST_COMPLETED)
        gone.cancel()
        sending.cancel()
    return DoorStatus()


async def _until_gone(connection: DoorConnection) -> None:
    while await connection.read():
        pass


async def _send_log(
    path: Path, worker: PodWorker, request: DoorRequest, connection: DoorConnection
) -> None:
    left = request.limit_bytes if request.limit_bytes is not None else 1 << 62
    position = await asyncio.to_thread(_tail_start, path, request.tail_lines)
    while left > 0:
        run = worker.container_run(request.container)
        is_over = run is not None and run.view.is_over  # before the read, which then has the end
        data = await asyncio.to_thread(_read_at, path, position, min(CHUNK_BYTES, left))
        if data:
            await connection.send(Channel.STDOUT, data)
            position += len(data)
            left -= len(data)
            continue
        if await asyncio.to_thread(_size, path) < position:
            position = 0  # the container was started again, with a log of its own
            continue
        if not request.follow or is_over:
            return
        await asyncio.sleep(FOLLOW_SECONDS)


def _read_at(path: Path, position: int, size: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(position)
            return file.read(size)
    except FileNotFoundError:
        return b""


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _tail_start(path: Path, lines: int | None) -> int:
    """Find where the last ``lines`` lines begin."""
    if lines is None:
        return 0
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    if lines == 0:
        return len(data)
    kept = data.splitlines(keepends=True)[-lines:]
    return len(data) - sum(map(len, kept))


def _impossible(worker: PodWorker, request: DoorRequest) -> str:
    """Say why a pod cannot be asked for this; empty: it can."""
    if worker.container(request.container) is None:
        return f"pod {request.pod} has no container {request.container}"
    if worker.sandbox < 0 and request.op in {"exec", "portforward"}:
        return f"pod {request.pod} is not running"
    return ""


def _bad(message: str) -> DoorStatus:
    return DoorStatus(code=400, message=message)
