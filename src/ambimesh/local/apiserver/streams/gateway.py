"""The handler of everything that streams into a pod."""

from collections.abc import Sequence

import msgspec

from ambimesh.local.apiserver.http.message import ClientGoneError, Request, Streamed
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.status import StatusError, bad_request, not_found
from ambimesh.local.apiserver.store.entry import JsonObject, Key, encode
from ambimesh.local.apiserver.streams import channels, logs
from ambimesh.local.apiserver.streams.pods import (
    DoorPath,
    enter,
    outcome_body,
    read_operation,
)
from ambimesh.local.apiserver.streams.port_forward import SUBPROTOCOL, PortForward
from ambimesh.local.apiserver.streams.websocket import WebSocket
from ambimesh.local.apiserver.types.kinds import Kind
from ambimesh.local.door import Channel, DoorConnection, DoorRequest, DoorStatus

STREAMED = frozenset({"exec", "attach", "portforward"})


class Streams:
    """Carries exec, attach, port-forward and logs to the doors of nodes."""

    def __init__(self, registry: Registry, door_path: DoorPath) -> None:
        self._registry = registry
        self._door_path = door_path

    async def logs(self, kind: Kind, key: Key, request: Request) -> Streamed:
        """Give the log of a container.

        Errors: StatusError 400, 404, 503.
        """
        return await logs.answer(self._pod(kind, key), request, self._door_path)

    def refuse_http(self, kind: Kind, key: Key, door: str, request: Request) -> StatusError:
        """Give the refusal of a stream that does not come as a WebSocket.

        kubectl tries again this way when a handshake was refused, and shows only what comes
        now: so the same checks are made first.
        """
        try:
            self._operation(kind, key, door, request)
        except StatusError as error:
            return error
        return bad_request(f"{door} needs a WebSocket: use kubectl 1.31 or later")

    async def serve(
        self, kind: Kind, key: Key, door: str, request: Request, client: WebSocket
    ) -> None:
        """Answer a WebSocket handshake, and carry the stream to its end."""
        subprotocol = choose(door, request.subprotocols)
        try:
            operation = self._operation(kind, key, door, request)
            if not subprotocol:
                raise bad_request(f"no known subprotocol for {door} is offered")
        except StatusError as error:
            await client.refuse(error)
            return
        await client.accept(subprotocol)
        path = self._door_path(self._pod(kind, key)["spec"]["nodeName"])

        async def connect(port: int) -> DoorConnection:
            return await enter(path, msgspec.structs.replace(operation, port=port))

        if door == "portforward":
            await PortForward(client, connect).run()
            return
        try:
            opened = await connect(0)
        except StatusError as error:
            await _end(client, error)
            return
        await channels.join(client, opened)

    def _pod(self, kind: Kind, key: Key) -> JsonObject:
        pod = self._registry.latest(kind, key)
        if pod is None:
            raise not_found(kind, key.name)
        return pod

    def _operation(self, kind: Kind, key: Key, door: str, request: Request) -> DoorRequest:
        pod = self._pod(kind, key)
        match door:
            case "exec":
                return read_operation(pod, "exec", request)
            case "attach":
                return read_operation(pod, "attach", request)
            case _:
                return read_operation(pod, "portforward", request)


def choose(door: str, offered: Sequence[str]) -> str:
    """Choose the subprotocol of a stream; empty when none is known."""
    if door == "portforward":
        return SUBPROTOCOL if SUBPROTOCOL in offered else ""
    return channels.choose(offered)


async def _end(client: WebSocket, error: StatusError) -> None:
    """Tell on an accepted stream that it could not begin."""
    body = outcome_body(DoorStatus(code=error.code, message=error.message))
    try:
        await client.send(bytes((Channel.STATUS,)) + encode(body))
        await client.close()
    except ClientGoneError:
        return
