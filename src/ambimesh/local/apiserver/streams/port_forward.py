"""port-forward: streams of SPDY in WebSocket messages on one side, a door for each on the other.

A forwarded connection is two streams with the same ``requestid``: ``error``, on which text
means failure, and ``data``.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from ambimesh.local.apiserver.http.message import ClientGoneError
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.streams.spdy import (
    DataReceived,
    Decoder,
    Encoder,
    Event,
    PingReceived,
    SpdyError,
    StreamOpened,
    StreamReset,
)
from ambimesh.local.apiserver.streams.websocket import WebSocket
from ambimesh.local.door import CHUNK_BYTES, Channel, DoorConnection, decode_status

SUBPROTOCOL = "SPDY/3.1+portforward.k8s.io"

Connect = Callable[[int], Awaitable[DoorConnection]]
"""Opens a connection to a port of the pod; raises StatusError."""


class Forward:
    """One forwarded connection: what the client has sent, until it is passed on."""

    def __init__(self, stream: int, error_stream: int, port: int) -> None:
        self.stream = stream
        self.error_stream = error_stream
        self.port = port
        self.is_finished = False  # towards the client
        self._is_abandoned = False
        self._waiting: bytes | None = None  # None: nothing more comes
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()

    async def put(self, data: bytes | None) -> None:
        """Take data from the client; waits until what came before is passed on.

        That holds back the whole tunnel, as it does with kubelet: SPDY's own flow control is
        not used.
        """
        await self._emptied.wait()
        if self._is_abandoned:
            return
        self._waiting = data
        self._emptied.clear()
        self._filled.set()

    async def take(self) -> bytes | None:
        """Give what is next; None at the end."""
        await self._filled.wait()
        self._filled.clear()
        self._emptied.set()
        return self._waiting

    def abandon(self) -> None:
        """Take nothing more: what the client still sends is thrown away."""
        self._is_abandoned = True
        self._emptied.set()


class PortForward:
    """One tunnel with any number of connections."""

    def __init__(self, client: WebSocket, connect: Connect) -> None:
        self._client = client
        self._connect = connect
        self._decoder = Decoder()
        self._encoder = Encoder()
        self._error_streams: dict[str, int] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._forwards: dict[int, Forward] = {}

    async def run(self) -> None:
        """Carry everything until the client has gone."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._read(group)
        except* ClientGoneError:
            pass
        except* SpdyError:
            with suppress(ClientGoneError):
                await self._client.close()

    async def _read(self, group: asyncio.TaskGroup) -> None:
        while (message := await self._client.read()) is not None:
            for event in self._decoder.feed(message):
                await self._take(event, group)
        raise ClientGoneError  # ends what is still being carried

    async def _take(self, event: Event, group: asyncio.TaskGroup) -> None:
        match event:
            case StreamOpened():
                await self._client.send(self._encoder.reply(event.stream))
                self._open(event, group)
            case DataReceived():
                if forward := self._forwards.get(event.stream):
                    if event.data:
                        await forward.put(event.data)
                    if event.is_finished:
                        await forward.put(None)
            case StreamReset():
                if task := self._tasks.get(event.stream):
                    task.cancel()
            case PingReceived():
                await self._client.send(self._encoder.pong(event.payload))

    def _open(self, event: StreamOpened, group: asyncio.TaskGroup) -> None:
        headers = event.headers
        request = headers.get("requestid", "")
        if headers.get("streamtype") == "error":
            self._error_streams[request] = event.stream
            return
        port = headers.get("port", "")
        if request not in self._error_streams or not port.isdigit():
            raise SpdyError("a data stream without its error stream, or without a port")
        forward = Forward(event.stream, self._error_streams.pop(request), int(port))
        self._forwards[event.stream] = forward
        self._tasks[event.stream] = group.create_task(self._forward(forward))

    async def _forward(self, forward: Forward) -> None:
        try:
            failure = await self._carry(forward)
            text = f"error forwarding port {forward.port}: {failure}" if failure else ""
            await self._finish(forward.error_stream, text.encode())
            if not forward.is_finished:
                await self._finish(forward.stream, b"")
        finally:
            forward.abandon()
            del self._forwards[forward.stream], self._tasks[forward.stream]

    async def _finish(self, stream: int, data: bytes) -> None:
        await self._client.send(self._encoder.data(stream, data, is_finished=True))

    async def _carry(self, forward: Forward) -> str:
        """Carry one connection both ways; gives what went wrong, or nothing."""
        try:
            door = await self._connect(forward.port)
        except StatusError as error:
            return error.message
        try:
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(_send_to_pod(forward, door))
                failure = await self._receive_from_pod(forward, door)
                sending.cancel()
        finally:
            door.close()
        return failure

    async def _receive_from_pod(self, forward: Forward, door: DoorConnection) -> str:
        while (frame := await door.read()) is not None:
            if frame.channel is Channel.STATUS:
                status = decode_status(frame.payload)
                return "" if status.is_success else status.message
            if frame.channel is Channel.STDOUT:
                for start in range(0, len(frame.payload), CHUNK_BYTES):
                    chunk = frame.payload[start : start + CHUNK_BYTES]
                    await self._client.send(self._encoder.data(forward.stream, chunk))
            if frame.channel is Channel.CLOSE and not forward.is_finished:
                forward.is_finished = True  # the client may go on sending
                await self._finish(forward.stream, b"")
        return "the node agent ended"


async def _send_to_pod(forward: Forward, door: DoorConnection) -> None:
    try:
        while (data := await forward.take()) is not None:
            await door.send(Channel.STDIN, data)
        await door.finish(Channel.STDIN)
    except ConnectionError:
        return  # the other direction sees how it ended
    finally:
        forward.abandon()
