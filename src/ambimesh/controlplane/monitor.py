"""The monitoring port: a few GET paths over HTTP/1.1, one answer a connection.

``/metrics``, ``/ready`` and ``/healthz`` are open to all. ``/debug`` shows the whole mesh: it
answers to callers on this host, or with a token of the root namespace.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import structlog

from ambimesh.controlplane.settings import Endpoint
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError, MeshError
from ambimesh.kube.errors import words
from ambimesh.kube.tokens import TokenIdentity

PROTECTED: Final = "/debug"
_REQUEST_SECONDS: Final = 10.0
_LONGEST_REQUEST_BYTES: Final = 32 << 10

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a path answers."""

    body: bytes
    content_type: str = "application/json"
    status: HTTPStatus = HTTPStatus.OK


Page = Callable[[], Answer]
Identify = Callable[[str], Awaitable[TokenIdentity | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request, as far as we look at it."""

    method: str
    path: str
    authorization: str


class Monitor:
    """Serves pages.

    Args:
        pages: What each path answers.
        identify: Tells whom an ``authorization`` header speaks for.
        namespace: Whose tokens may see the protected pages.
    """

    def __init__(self, pages: Mapping[str, Page], *, identify: Identify, namespace: str) -> None:
        self._pages = pages
        self._identify = identify
        self._namespace = namespace

    async def start(self, endpoint: Endpoint) -> asyncio.Server:
        """Listen. Errors: ``EnvironmentFaultError`` when the endpoint cannot be had."""
        try:
            return await asyncio.start_server(
                self._serve, endpoint.host, endpoint.port, limit=_LONGEST_REQUEST_BYTES
            )
        except OSError as error:
            problem = catalogue.LISTEN_FAILED.problem(cause=str(error), address=endpoint)
            raise EnvironmentFaultError(problem) from error

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                answer = await self._answer(_parse(head), is_local=_is_local(writer))
                writer.write(_render(answer))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the caller has gone, or sends no request
        finally:
            writer.close()

    async def _answer(self, request: Request | None, *, is_local: bool) -> Answer:
        if request is None:
            return _refusal(HTTPStatus.BAD_REQUEST)
        page = self._pages.get(request.path)
        if page is None:
            return _refusal(HTTPStatus.NOT_FOUND)
        if request.method != "GET":
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED)
        if request.path.startswith(PROTECTED) and not is_local:
            status = await self._check(request.authorization)
            if status is not HTTPStatus.OK:
                return _refusal(status)
        return page()

    async def _check(self, authorization: str) -> HTTPStatus:
        try:
            caller = await self._identify(authorization)
        except MeshError as error:
            _log.warning("token not checked", error=words(error))
            return HTTPStatus.SERVICE_UNAVAILABLE
        if caller is None:
            return HTTPStatus.UNAUTHORIZED
        return HTTPStatus.OK if caller.namespace == self._namespace else HTTPStatus.FORBIDDEN


def _parse(head: bytes) -> Request | None:
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3:
        return None
    headers = (line.partition(":") for line in lines)
    found = {name.strip().lower(): value.strip() for name, _, value in headers}
    return Request(
        method=parts[0],
        path=parts[1].partition("?")[0],
        authorization=found.get("authorization", ""),
    )


def _is_local(writer: asyncio.StreamWriter) -> bool:
    """Tell whether the caller is on this host: it has the address it calls."""
    peer, own = writer.get_extra_info("peername"), writer.get_extra_info("sockname")
    return bool(peer and own and peer[0] == own[0])


def _refusal(status: HTTPStatus) -> Answer:
    return Answer(body=f"{status.phrase}\n".encode(), content_type="text/plain", status=status)


def _render(answer: Answer) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status.value} {answer.status.phrase}\r\n"
        f"content-type: {answer.content_type}\r\n"
        f"content-length: {len(answer.body)}\r\n"
        "connection: close\r\n\r\n"
    )
    return head.encode() + answer.body
