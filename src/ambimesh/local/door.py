"""The door of a node: how `kubectl exec` and its kind get from the API server into a pod.

A node agent listens on a unix stream socket, ``home/run/<node>.door``. A connection carries one
operation, in frames:

    length (4 bytes, big endian, of the payload) | channel (1 byte) | payload

    client                                      door
    REQUEST  a `DoorRequest` as JSON       ->
                                           <-   STARTED  empty; or STATUS, and that is all
    STDIN    bytes; RESIZE; CLOSE          ->
                                           <-   STDOUT, STDERR  bytes; CLOSE
                                           <-   STATUS   a `DoorStatus` as JSON, the last frame

CLOSE has one byte, the channel that its sender has finished (its half of it). For a port-forward
STDIN and STDOUT are the two directions of the connection. Logs arrive on STDOUT. A client that
goes away ends the operation. Nothing but the socket's own flow control holds anybody back.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

HEADER_BYTES = 5
PAYLOAD_LIMIT_BYTES = 1 << 20
CHUNK_BYTES = 64 << 10  # what senders put into one frame

Document = TypeVar("Document")
Operation = Literal["exec", "attach", "portforward", "logs"]


class Channel(IntEnum):
    """What a frame carries; the first five are numbered as in Kubernetes' own protocol."""

    STDIN = 0
    STDOUT = 1
    STDERR = 2
    STATUS = 3
    RESIZE = 4
    REQUEST = 5
    STARTED = 6
    CLOSE = 255


class DoorError(Exception):
    """The door does not open, or says something that is not this protocol."""


class DoorRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a client wants of a pod on this node."""

    op: Operation
    namespace: str
    pod: str
    uid: str  # of the pod: another pod of the same name is not meant
    container: str = ""  # empty: the first
    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False
    port: int = 0
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_seconds: int | None = None
    since_time: str = ""  # RFC 3339
    limit_bytes: int | None = None


class DoorStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an operation ended.

    Invariants: ``code`` is an HTTP status; 200 means that it ended well. A program that ended
    by itself has an ``exit_code``, and 200 only with exit code 0.
    """

    code: int = 200
    message: str = ""
    exit_code: int | None = None

    @property
    def is_success(self) -> bool:
        """Whether the operation ended well."""
        return self.code == 200


class Size(msgspec.Struct, frozen=True, rename="pascal"):
    """The size of a terminal, as kubectl sends it."""

    width: int
    height: int


class Frame(msgspec.Struct, frozen=True):
    """One unit on the wire."""

    channel: Channel
    payload: bytes


_encode = msgspec.json.Encoder().encode


def encode_frame(channel: Channel, payload: bytes) -> bytes:
    """Encode one frame.

    Errors: ValueError for a payload beyond the limit.
    """
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        raise ValueError(f"payload of {len(payload)} bytes, the limit is {PAYLOAD_LIMIT_BYTES}")
    return len(payload).to_bytes(4) + bytes((channel,)) + payload


def decode_header(header: bytes) -> tuple[int, Channel]:
    """Read the length of the payload, and the channel.

    Errors: DoorError.
    """
    length = int.from_bytes(header[:4])
    if length > PAYLOAD_LIMIT_BYTES:
        raise DoorError(f"frame of {length} bytes, the limit is {PAYLOAD_LIMIT_BYTES}")
    try:
        return length, Channel(header[4])
    except ValueError as error:
        raise DoorError(f"unknown channel {header[4]}") from error


def decode_request(payload: bytes) -> DoorRequest:
    """Read a request. Errors: DoorError."""
    return _decode(payload, DoorRequest, "a request")


def decode_status(payload: bytes) -> DoorStatus:
    """Read a status. Errors: DoorError."""
    return _decode(payload, DoorStatus, "a status")


def decode_size(payload: bytes) -> Size:
    """Read the size of a terminal. Errors: DoorError."""
    return _decode(payload, Size, "a size")


def _decode(payload: bytes, kind: type[Document], what: str) -> Document:
    try:
        return msgspec.json.decode(payload, type=kind)
    except msgspec.MsgspecError as error:
        raise DoorError(f"not {what}: {error}") from error


class DoorConnection:
    """One operation, seen from either end."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> Frame | None:
        """Give the next frame; None when the other side has gone.

        Errors: DoorError for what is not this protocol.
        """
        try:
            length, channel = decode_header(await self._reader.readexactly(HEADER_BYTES))
            return Frame(channel, await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def send(self, channel: Channel, payload: bytes) -> None:
        """Send bytes of any number; waits while the other side does not read.

        Errors: ConnectionError when the other side has gone.
        """
        for start in range(0, max(len(payload), 1), CHUNK_BYTES):
            self._writer.write(encode_frame(channel, payload[start : start + CHUNK_BYTES]))
            await self._writer.drain()

    async def finish(self, channel: Channel) -> None:
        """Tell that nothing more comes on a channel."""
        await self.send(Channel.CLOSE, bytes((channel,)))

    async def start(self) -> None:
        """Tell the client that its operation has begun."""
        await self.send(Channel.STARTED, b"")

    async def end(self, status: DoorStatus) -> None:
        """Tell the client how its operation ended."""
        await self.send(Channel.STATUS, _encode(status))

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    async def wait_closed(self) -> None:
        """Wait until the connection is closed."""
        with suppress(ConnectionError):
            await self._writer.wait_closed()


async def open_door(path: Path, request: DoorRequest) -> DoorConnection | DoorStatus:
    """Begin an operation; gives the connection, or the status with which it was refused.

    Errors: DoorError when nobody is behind the door.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(path)
    except OSError as error:
        raise DoorError(f"cannot connect to {path}: {error.strerror or error}") from error
    connection = DoorConnection(reader, writer)
    try:
        await connection.send(Channel.REQUEST, _encode(request))
        first = await connection.read()
    except BaseException as error:
        connection.close()
        if isinstance(error, ConnectionError):
            raise DoorError(f"{path} was closed: {error}") from error
        raise
    if first is not None and first.channel is Channel.STARTED:
        return connection
    connection.close()
    if first is None or first.channel is not Channel.STATUS:
        raise DoorError(f"{path} closed the connection without an answer")
    return decode_status(first.payload)


Handler = Callable[[DoorRequest, DoorConnection], Awaitable[DoorStatus]]
"""Does one operation: calls ``start``, moves frames, and gives the status; or refuses with one."""


class DoorServer:
    """Takes connections on a door and hands each request to a handler.

    A handler that waits for something else reads frames meanwhile: None tells that its client
    has gone. What it raises becomes a status with code 500.
    """

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, *, started: Callable[[], None]) -> None:
        """Serve until cancelled; operations end with it.

        Errors: OSError when the socket cannot be made.
        """
        self._path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._accept, self._path)
        self._path.chmod(0o600)
        inode = self._path.stat().st_ino
        try:
            started()
            await server.serve_forever()
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            with suppress(OSError):
                if self._path.stat().st_ino == inode:  # not that of a successor
                    self._path.unlink()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        connection = DoorConnection(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            status = await self._serve(connection)
            if status is not None:
                await connection.end(status)
        except ConnectionError:
            return  # the client went away: there is nobody to tell
        finally:
            self._tasks.discard(task)
            connection.close()

    async def _serve(self, connection: DoorConnection) -> DoorStatus | None:
        try:
            first = await connection.read()
            if first is None:
                return None
            if first.channel is not Channel.REQUEST:
                return DoorStatus(code=400, message="the first frame is not a request")
            return await self._handler(decode_request(first.payload), connection)
        except DoorError as error:
            return DoorStatus(code=400, message=str(error))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of an operation
            return DoorStatus(code=500, message=f"{type(error).__name__}: {error}")
