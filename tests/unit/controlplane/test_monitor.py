"""The monitoring port: who may see what."""

import asyncio
from http import HTTPStatus

import pytest

from ambimesh.controlplane.monitor import Answer, Monitor
from ambimesh.controlplane.settings import Endpoint
from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.kube.tokens import TokenIdentity

PAGES = {
    "/ready": lambda: Answer(body=b"ready", content_type="text/plain"),
    "/debug/syncz": lambda: Answer(body=b"[]"),
}


async def identify(header: str) -> TokenIdentity | None:
    """Take ``Bearer <namespace>`` for a token of that namespace."""
    namespace = header.removeprefix("Bearer ")
    return TokenIdentity(namespace=namespace, service_account="a") if namespace else None


async def ask(request: bytes, *, source: str = "127.0.0.1") -> tuple[int, bytes]:
    """Send bytes from an address and give status and body."""
    monitor = Monitor(PAGES, identify=identify, namespace="istio-system")
    async with (
        asyncio.timeout(10),
        await monitor.start(Endpoint(host="127.0.0.1", port=0)) as server,
    ):
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
        writer.write(request)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    head, _, body = answer.partition(b"\r\n\r\n")
    return (int(head.split()[1]) if head else 0), body


def get(path: str, *headers: str) -> bytes:
    """Make a request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "host: x", *headers, "", ""]).encode()


FAR = "127.0.0.2"  # another address than the one that is listened on: not this host


@pytest.mark.parametrize(
    ("request_", "source", "status"),
    [
        (get("/ready"), FAR, HTTPStatus.OK),
        (get("/ready?verbose=1"), FAR, HTTPStatus.OK),
        (get("/debug/syncz"), "127.0.0.1", HTTPStatus.OK),
        (get("/debug/syncz"), FAR, HTTPStatus.UNAUTHORIZED),
        (get("/debug/syncz", "Authorization: Bearer shop"), FAR, HTTPStatus.FORBIDDEN),
        (get("/debug/syncz", "authorization: Bearer istio-system"), FAR, HTTPStatus.OK),
        (get("/nothing"), FAR, HTTPStatus.NOT_FOUND),
        (b"POST /ready HTTP/1.1\r\n\r\n", FAR, HTTPStatus.METHOD_NOT_ALLOWED),
        (b"nonsense\r\n\r\n", FAR, HTTPStatus.BAD_REQUEST),
        (b"", FAR, 0),
        (b"x" * 100_000, FAR, 0),
    ],
)
async def test_pages_are_shown_to_those_who_may(request_: bytes, source: str, status: int) -> None:
    """Open pages to all; debug pages on this host, or with a token of the root namespace."""
    found, _ = await ask(request_, source=source)

    assert found == status


async def test_port_in_use_is_one_clear_error() -> None:
    """The error names the address."""
    monitor = Monitor(PAGES, identify=identify, namespace="istio-system")
    async with await monitor.start(Endpoint(host="127.0.0.1", port=0)) as server:
        port = server.sockets[0].getsockname()[1]

        with pytest.raises(EnvironmentFaultError, match=str(port)):
            await monitor.start(Endpoint(host="127.0.0.1", port=port))
