"""A door with real programs of this machine behind it, in a thread of its own."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ambimesh.local.door import (
    Channel,
    DoorConnection,
    DoorRequest,
    DoorServer,
    DoorStatus,
)

LOG = [f"line {number}" for number in range(1, 6)]


class FakeDoor:
    """Runs commands, forwards to 127.0.0.1, and has a log of five lines."""

    def __init__(self) -> None:
        self.requests: list[DoorRequest] = []
        self.sizes: list[bytes] = []
        self.said = threading.Event()  # a following log says one line more

    async def handle(self, request: DoorRequest, connection: DoorConnection) -> DoorStatus:
        """Do one operation."""
        self.requests.append(request)
        match request.op:
            case "exec":
                return await self._run(request, connection)
            case "portforward":
                return await self._forward(request, connection)
            case "logs":
                return await self._logs(request, connection)
            case "attach":
                await connection.start()
                await connection.send(Channel.STDOUT, b"attached\n")
                return DoorStatus()

    async def _run(self, request: DoorRequest, connection: DoorConnection) -> DoorStatus:
        pipe = asyncio.subprocess.PIPE
        try:
            process = await asyncio.create_subprocess_exec(
                *request.command, stdin=pipe, stdout=pipe, stderr=pipe
            )
        except OSError as error:
            return DoorStatus(code=400, message=f"cannot run {request.command[0]}: {error}")
        await connection.start()
        assert process.stdin
        assert process.stdout
        assert process.stderr
        if not request.stdin:
            process.stdin.close()
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(self._feed(connection, process))
            outputs = [
                group.create_task(_pump(process.stdout, connection, Channel.STDOUT)),
                group.create_task(_pump(process.stderr, connection, Channel.STDERR)),
            ]
            await asyncio.wait(outputs)
            code = await process.wait()
            feeding.cancel()
        return DoorStatus(code=200 if code == 0 else 500, exit_code=code)

    async def _feed(self, connection: DoorConnection, process: asyncio.subprocess.Process) -> None:
        assert process.stdin
        while (frame := await connection.read()) is not None:
            if frame.channel is Channel.STDIN:
                process.stdin.write(frame.payload)
                await process.stdin.drain()
            elif frame.channel is Channel.RESIZE:
                self.sizes.append(frame.payload)
            elif frame.channel is Channel.CLOSE:
                process.stdin.close()
        process.kill()

    async def _forward(self, request: DoorRequest, connection: DoorConnection) -> DoorStatus:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", request.port)
        except OSError as error:
            return DoorStatus(code=502, message=f"{error.strerror}")
        await connection.start()
        async with asyncio.TaskGroup() as group:
            sending = group.create_task(_send(connection, writer))
            await _pump(reader, connection, Channel.STDOUT)
            await connection.finish(Channel.STDOUT)
            await sending
        writer.close()
        return DoorStatus()

    async def _logs(self, request: DoorRequest, connection: DoorConnection) -> DoorStatus:
        await connection.start()
        lines = LOG[-request.tail_lines :] if request.tail_lines else LOG
        await connection.send(Channel.STDOUT, "".join(f"{line}\n" for line in lines).encode())
        if request.follow:
            await asyncio.to_thread(self.said.wait, 30)
            await connection.send(Channel.STDOUT, b"one more\n")
        return DoorStatus()


async def _pump(reader: asyncio.StreamReader, connection: DoorConnection, channel: Channel) -> None:
    while data := await reader.read(65536):
        await connection.send(channel, data)


async def _send(connection: DoorConnection, writer: asyncio.StreamWriter) -> None:
    while (frame := await connection.read()) is not None:
        if frame.channel is Channel.STDIN:
            writer.write(frame.payload)
            await writer.drain()
        elif frame.channel is Channel.CLOSE:
            writer.write_eof()
            return


@contextmanager
def open_fake_door(path: Path) -> Iterator[FakeDoor]:
    """Serve a fake door for the length of a test."""
    door = FakeDoor()
    started = threading.Event()
    loop = asyncio.new_event_loop()
    tasks: list[asyncio.Task[None]] = []

    async def serve() -> None:
        server = DoorServer(path, door.handle)
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]  # it is there: we run in it
        try:
            await server.run(started=started.set)
        except asyncio.CancelledError:
            return

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(10)
    try:
        yield door
    finally:
        loop.call_soon_threadsafe(tasks[0].cancel)
        thread.join(10)
        loop.close()
