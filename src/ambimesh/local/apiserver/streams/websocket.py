"""A WebSocket as ASGI gives it, with just what streams need."""

from typing import Any

from ambimesh.local.apiserver.http.message import JSON, ClientGoneError, Message, Receive, Send
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import encode

NORMAL_CLOSURE = 1000


class WebSocket:
    """One connection: refused as HTTP, or accepted and then binary messages both ways."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def refuse(self, error: StatusError) -> None:
        """Answer the handshake with a Status, as an ordinary request would be."""
        body = encode(error.body())
        headers = [
            (b"content-type", JSON.encode()),
            (b"content-length", str(len(body)).encode()),
        ]
        await self._send(
            {"type": "websocket.http.response.start", "status": error.code, "headers": headers}
        )
        await self._send({"type": "websocket.http.response.body", "body": body})

    async def accept(self, subprotocol: str) -> None:
        """Accept the handshake."""
        await self._send({"type": "websocket.accept", "subprotocol": subprotocol})

    async def read(self) -> bytes | None:
        """Give the next message; None when the client has gone."""
        message: dict[str, Any] = await self._receive()
        if message["type"] == "websocket.disconnect":
            return None
        data = message.get("bytes")
        if data is None:
            data = (message.get("text") or "").encode()
        return bytes(data)

    async def send(self, data: bytes) -> None:
        """Send one binary message; waits while the client does not read.

        Errors: ClientGoneError.
        """
        await self._send_open({"type": "websocket.send", "bytes": data})

    async def close(self) -> None:
        """End the conversation.

        Errors: ClientGoneError.
        """
        await self._send_open({"type": "websocket.close", "code": NORMAL_CLOSURE})

    async def _send_open(self, message: Message) -> None:
        try:
            await self._send(message)
        except OSError as error:  # how uvicorn tells that the client has gone
            raise ClientGoneError from error
