"""Asking a container how it is: by a program, an HTTP request, or a connection.

Probes run inside the pod's own namespace and so never pass the node proxy: a policy does not
make a pod unready.

Source: Kubernetes' probe semantics.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from contextlib import closing

from ambimesh.kube.core import Container, HttpGetAction, Probe, TcpSocketAction
from ambimesh.node.namespace import run_in

RunCommand = Callable[[tuple[str, ...]], Awaitable[int]]
_STATUS_BYTES = 4096


class ProbeLoop:
    """Asks one probe again and again, and reports when the verdict turns."""

    def __init__(
        self,
        probe: Probe,
        ask: Callable[[], Awaitable[bool]],
        report: Callable[[bool], None],
    ) -> None:
        self._probe = probe
        self._ask = ask
        self._report = report

    async def run(self, *, verdict: bool) -> None:
        """Ask until cancelled; ``verdict`` is what holds at the start.

        It turns to true after ``successThreshold`` answers in a row, to false after
        ``failureThreshold`` (and then is reported each further time that many fail).
        """
        await asyncio.sleep(self._probe.initial_delay_seconds)
        same, last = 0, verdict
        while True:
            answer = await self._answer()
            same, last = (same + 1 if answer == last else 1), answer
            needed = self._probe.success_threshold if answer else self._probe.failure_threshold
            if same >= needed and (answer != verdict or not answer):
                verdict, same = answer, 0
                self._report(verdict)
            await asyncio.sleep(self._pause(verdict=verdict))

    def _pause(self, *, verdict: bool) -> float:
        """Ask more often while a pod starts: a person waits for it."""
        period = float(self._probe.period_seconds or 10)
        return period if verdict else min(period, 1.0)

    async def _answer(self) -> bool:
        try:
            async with asyncio.timeout(self._probe.timeout_seconds or 1):
                return await self._ask()
        except (OSError, TimeoutError, ValueError, OverflowError):  # also: a name or port that
            return False  # cannot be, an answer without end


def asker(
    probe: Probe, container: Container, sandbox: int, run_command: RunCommand
) -> Callable[[], Awaitable[bool]]:
    """Give the question of a probe: a coroutine function, true for healthy."""
    if probe.exec is not None:
        command = probe.exec.command

        async def by_command() -> bool:
            return await run_command(command) == 0

        return by_command
    if probe.http_get is not None:
        request = probe.http_get
        return lambda: _by_http(request, container, sandbox)
    action = probe.tcp_socket or TcpSocketAction()
    return lambda: _by_connection(action, container, sandbox)


async def connect_in(sandbox: int, host: str, port: int) -> socket.socket:
    """Connect from inside a pod's namespace. Errors: ``OSError``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def make() -> socket.socket:
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setblocking(False)
        return made

    connected = await asyncio.to_thread(run_in, sandbox, make)
    try:
        await asyncio.get_running_loop().sock_connect(connected, (host, port))
    except BaseException:
        connected.close()
        raise
    return connected


def port_number(port: int | str, container: Container) -> int:
    """Resolve a port by number or by the name that the container gives it.

    Errors: ``OSError`` for a name that no port has, so that the probe fails.
    """
    if isinstance(port, int):
        return port
    for declared in container.ports:
        if declared.name == port:
            return declared.container_port
    if port.isdigit():
        return int(port)
    raise OSError(f"container {container.name} has no port named {port}")


async def _by_connection(action: TcpSocketAction, container: Container, sandbox: int) -> bool:
    port = port_number(action.port, container)
    (await connect_in(sandbox, action.host or "127.0.0.1", port)).close()
    return True


async def _by_http(action: HttpGetAction, container: Container, sandbox: int) -> bool:
    port = port_number(action.port, container)
    connected = await connect_in(sandbox, action.host or "127.0.0.1", port)
    with closing(connected):
        tls = _any_certificate() if action.scheme == "HTTPS" else None
        reader, writer = await asyncio.open_connection(
            sock=connected.dup() if tls else connected, ssl=tls, server_hostname="" if tls else None
        )
        try:
            writer.write(_request(action, port))
            await writer.drain()
            line = await reader.readline()
        finally:
            writer.close()
    parts = line[:_STATUS_BYTES].split()
    return len(parts) > 1 and parts[1].isdigit() and 200 <= int(parts[1]) < 400


def _request(action: HttpGetAction, port: int) -> bytes:
    headers = {"Host": f"localhost:{port}", "User-Agent": "ambimesh-probe", "Connection": "close"}
    headers |= {header.name: header.value for header in action.http_headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"GET {action.path or '/'} HTTP/1.1\r\n{lines}\r\n".encode()


def _any_certificate() -> ssl.SSLContext:
    """Probes do not check certificates, as Kubernetes' do not: they ask whether it answers."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
