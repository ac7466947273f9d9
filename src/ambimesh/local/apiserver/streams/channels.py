"""exec and attach: channels in WebSocket messages on one side, a door on the other.

Source: the subprotocols v5.channel.k8s.io and v4.channel.k8s.io. The first byte of a message
names its channel; 255 (version 5) says that the channel named by the next byte has ended.
"""

import asyncio
from collections.abc import Sequence

from ambimesh.local.apiserver.http.message import ClientGoneError
from ambimesh.local.apiserver.store.entry import encode
from ambimesh.local.apiserver.streams.pods import outcome_body
from ambimesh.local.apiserver.streams.websocket import WebSocket
from ambimesh.local.door import Channel, DoorConnection, DoorStatus, decode_status

SUBPROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")

_FROM_CLIENT = frozenset({Channel.STDIN, Channel.RESIZE, Channel.CLOSE})
_TO_CLIENT = frozenset({Channel.STDOUT, Channel.STDERR})


def choose(offered: Sequence[str]) -> str:
    """Choose the newest subprotocol that both know; empty when there is none."""
    return next((name for name in SUBPROTOCOLS if name in offered), "")


async def join(client: WebSocket, door: DoorConnection) -> None:
    """Carry messages both ways until the operation has ended or the client has gone."""
    try:
        async with asyncio.TaskGroup() as group:
            feeding = group.create_task(_feed(client, door))
            status = await _carry_output(client, door)
            feeding.cancel()
            await client.send(bytes((Channel.STATUS,)) + encode(outcome_body(status)))
            await client.close()
    except* (ClientGoneError, ConnectionError):
        pass
    finally:
        door.close()


async def _feed(client: WebSocket, door: DoorConnection) -> None:
    while (message := await client.read()) is not None:
        # An empty message on a channel is kubectl's way to open it.
        if message and message[0] in _FROM_CLIENT and len(message) > 1:
            await door.send(Channel(message[0]), message[1:])
    raise ClientGoneError  # the operation ends with it


async def _carry_output(client: WebSocket, door: DoorConnection) -> DoorStatus:
    while (frame := await door.read()) is not None:
        if frame.channel is Channel.STATUS:
            return decode_status(frame.payload)
        if frame.channel in _TO_CLIENT:
            await client.send(bytes((frame.channel,)) + frame.payload)
    return DoorStatus(code=500, message="the node agent ended before the command did")
