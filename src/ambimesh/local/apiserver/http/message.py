"""Requests and answers between the ASGI server and our handlers."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl

from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import encode

JSON = "application/json"
BODY_LIMIT_BYTES = 3 << 20  # what kube-apiserver takes

Message = dict[str, Any]


class Receive(Protocol):
    """ASGI's way to get the next message from the client."""

    async def __call__(self) -> Message:
        """Wait for the next message."""
        ...


class Send(Protocol):
    """ASGI's way to send a message to the client."""

    async def __call__(self, message: Message, /) -> None:
        """Send one message; waits while the client does not read."""
        ...


class ClientGoneError(Exception):
    """The client closed the connection before the request was complete."""


@dataclass(slots=True)
class Request:
    """One HTTP request or WebSocket handshake; the body is read when a handler wants it."""

    method: str
    path: str
    terms: list[tuple[str, str]]  # the query, in order, repeated names kept
    headers: Mapping[str, str]  # names in lower case; repeated ones are joined by commas
    receive: Receive
    subprotocols: tuple[str, ...] = ()  # that a WebSocket handshake offers
    query: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.query = dict(self.terms)

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any], receive: Receive) -> "Request":
        """Read what ASGI gives."""
        terms = parse_qsl(scope["query_string"].decode("latin1"), keep_blank_values=True)
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            known = headers.get(name.decode("latin1"))
            text = value.decode("latin1")
            headers[name.decode("latin1")] = text if known is None else f"{known},{text}"
        return cls(
            method=scope.get("method", "GET"),
            path=scope["path"],
            terms=terms,
            headers=headers,
            receive=receive,
            subprotocols=tuple(scope.get("subprotocols", ())),
        )

    @property
    def accept(self) -> str:
        """What the client wants to read."""
        return self.headers.get("accept", "")

    @property
    def content_type(self) -> str:
        """The media type of the body, without parameters."""
        return self.headers.get("content-type", JSON).partition(";")[0].strip().lower()

    def flag(self, name: str) -> bool:
        """Whether a query parameter says yes."""
        return self.query.get(name, "").lower() in ("true", "1")

    async def body(self) -> bytes:
        """Read the body to its end.

        Errors: StatusError 413 beyond the limit; ClientGoneError.
        """
        chunks: list[bytes] = []
        size = 0
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > BODY_LIMIT_BYTES:
                raise StatusError(
                    413, f"Request entity too large: limit is {BODY_LIMIT_BYTES}", details={}
                )
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, obj: object, status: int = 200, warnings: tuple[str, ...] = ()) -> "Response":
        """Answer with an object as JSON."""
        return cls(encode(obj), status, headers=warning_headers(warnings))


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer that is made while it is sent; its end ends the answer cleanly."""

    chunks: AsyncGenerator[bytes, None]
    content_type: str = JSON


Answer = Response | Streamed


def warning_headers(warnings: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Give one header for each warning, as kubectl prints them.

    Source: RFC 7234 section 5.5, with the code 299 that Kubernetes uses.
    """
    return tuple(
        ("warning", '299 - "{}"'.format(_one_line(text).replace("\\", "\\\\").replace('"', '\\"')))
        for text in warnings
    )


def _one_line(text: str) -> str:
    return " ".join(text.encode("ascii", "replace").decode().split())
