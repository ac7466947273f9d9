"""Serving node proxies: which pods are captured, with their namespaces and listeners.

One ``SOCK_SEQPACKET`` connection per proxy generation, one message a datagram, one answer to
each. A proxy that breaks the dialogue is disconnected; it comes back and gets the whole snapshot.

Source: node-proxy specification §3.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from ambimesh.node.listeners import ListenerKind
from ambimesh.wire import zds as messages

log = structlog.get_logger("zds")

MAX_MESSAGE_BYTES = 1024
ACK_SECONDS = 5.0
HELLO_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolled:
    """A captured pod as a proxy is told of it. The descriptors belong to the capture."""

    uid: str
    name: str
    namespace: str
    service_account: str
    network_namespace: int
    listeners: Mapping[ListenerKind, socket.socket]


class NotEnrolledError(Exception):
    """No proxy has taken the pod: none is connected, or the newest one refused it."""


class ProxyGoneError(Exception):
    """A proxy has ended its connection or broken the dialogue."""


@dataclass(eq=False, slots=True)
class ProxyConnection:
    """One connected proxy."""

    socket: socket.socket
    pid: int
    takes_listeners: bool = False
    answer_seconds: float = ACK_SECONDS
    is_retired: bool = False  # told to take no more pods; it still hears of removals
    _answers: "asyncio.Queue[bytes]" = field(default_factory=lambda: asyncio.Queue(1))
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    _waiting: bool = False

    async def ask(self, message: bytes, descriptors: list[int]) -> str:
        """Send one request and return the error text of its answer (empty: success).

        Raises:
            ProxyGoneError: no answer within the deadline, or the connection has ended.
        """
        async with self._asking:
            self._waiting = True
            try:
                socket.send_fds(self.socket, [message], descriptors)
                async with asyncio.timeout(self.answer_seconds):
                    return messages.acknowledgement(await self._answers.get())
            except (OSError, TimeoutError, ValueError) as error:
                # A late answer would be taken for that of the next request: end it here.
                self.close()
                why = str(error) or "no answer in time"
                raise ProxyGoneError(f"proxy {self.pid}: {why}") from error
            finally:
                self._waiting = False

    async def serve(self) -> None:
        """Take in answers until the proxy goes away. Cancellation: safe."""
        loop = asyncio.get_running_loop()
        try:
            with contextlib.suppress(OSError):
                while data := await loop.sock_recv(self.socket, MAX_MESSAGE_BYTES):
                    if not self._waiting or self._answers.full():
                        log.warning("proxy spoke out of turn", pid=self.pid)
                        return
                    self._answers.put_nowait(data)
        finally:
            if self._waiting and not self._answers.full():
                self._answers.put_nowait(b"")  # who waits for an answer hears of the end at once

    def close(self) -> None:
        """End the connection; the proxy will connect again."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class ZdsServer:
    """Accepts proxies, brings each up to date, and tells them of changes.

    Invariants: the newest connection has every enrolled pod or is being told; a pod that is
    removed is removed from every connection.
    """

    def __init__(
        self,
        path: Path,
        *,
        ready: Callable[[int], None] = lambda _pid: None,
        answer_seconds: float = ACK_SECONDS,
    ) -> None:
        self._path = path
        self._answer_seconds = answer_seconds
        self._ready = ready  # called with the pid of each proxy that has taken the snapshot
        self._enrolled: dict[str, Enrolled] = {}
        self._connections: list[ProxyConnection] = []  # oldest first
        self._changing = asyncio.Lock()

    @property
    def connected_pids(self) -> tuple[int, ...]:
        """Process ids of the proxies that have taken the snapshot, oldest first."""
        return tuple(c.pid for c in self._connections)

    async def run(self, *, started: Callable[[], None]) -> None:
        """Accept proxies until cancelled."""
        loop = asyncio.get_running_loop()
        with self._listen() as listener:
            started()
            async with asyncio.TaskGroup() as tasks:
                while True:
                    accepted, _ = await loop.sock_accept(listener)
                    tasks.create_task(self._serve(accepted), name="zds connection")

    async def add(self, pod: Enrolled) -> None:
        """Enrol a pod and return when the newest proxy has taken it.

        Raises:
            NotEnrolledError: with the proxy's reason; the pod stays on the list and is sent to
                the next proxy that connects.
        """
        async with self._changing:
            self._enrolled[pod.uid] = pod
            accepting = [c for c in self._connections if not c.is_retired]
            if not accepting:
                raise NotEnrolledError("no node proxy is connected")
            try:
                error = await _send(accepting[-1], pod)
            except ProxyGoneError as gone:
                raise NotEnrolledError(str(gone)) from gone
            if error:
                raise NotEnrolledError(error)

    async def remove(self, uid: str) -> None:
        """Take a pod off every proxy; its connections there end at once."""
        async with self._changing:
            self._enrolled.pop(uid, None)
            for connection in list(self._connections):
                with contextlib.suppress(ProxyGoneError):
                    await connection.ask(messages.remove(uid), [])

    async def retire(self, pid: int) -> None:
        """Ask a generation to stop accepting and to end when its last connection has.

        Istio's proxy does not know the request, and would end its process on it.
        """
        async with self._changing:
            for connection in [c for c in self._connections if c.pid == pid and c.takes_listeners]:
                connection.is_retired = True
                with contextlib.suppress(ProxyGoneError):
                    await connection.ask(messages.retire(), [])

    def _listen(self) -> socket.socket:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self._path))
        self._path.chmod(0o600)
        listener.listen(8)
        listener.setblocking(False)
        return listener

    async def _serve(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        with accepted:
            try:
                pid = _peer_pid(accepted)
                await self._converse(
                    ProxyConnection(accepted, pid, answer_seconds=self._answer_seconds)
                )
            except ProxyGoneError as gone:
                log.warning("node proxy gone", reason=str(gone))

    async def _converse(self, connection: ProxyConnection) -> None:
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                loop = asyncio.get_running_loop()
                hello = await loop.sock_recv(connection.socket, MAX_MESSAGE_BYTES)
            connection.takes_listeners = messages.hello(hello)
        except (OSError, TimeoutError, ValueError) as error:
            raise ProxyGoneError(f"proxy {connection.pid}: no hello: {error}") from error
        try:
            async with asyncio.TaskGroup() as tasks:
                bringing = tasks.create_task(self._bring_up(connection), name="zds snapshot")
                await connection.serve()
                bringing.cancel()
        finally:
            if connection in self._connections:
                self._connections.remove(connection)
                log.info("node proxy disconnected", pid=connection.pid)

    async def _bring_up(self, connection: ProxyConnection) -> None:
        try:
            async with self._changing:
                for pod in list(self._enrolled.values()):
                    if error := await _send(connection, pod):
                        log.warning("node proxy refused a pod", uid=pod.uid, reason=error)
                await connection.ask(messages.snapshot_sent(), [])
                self._connections.append(connection)
        except ProxyGoneError as gone:
            log.warning("node proxy gone", reason=str(gone))
            return
        log.info("node proxy connected", pid=connection.pid, pods=len(self._enrolled))
        self._ready(connection.pid)


async def _send(connection: ProxyConnection, pod: Enrolled) -> str:
    listeners = dict(sorted(pod.listeners.items())) if connection.takes_listeners else {}
    message = messages.add(
        uid=pod.uid,
        name=pod.name,
        namespace=pod.namespace,
        service_account=pod.service_account,
        listeners=list(listeners),
    )
    descriptors = [pod.network_namespace, *(s.fileno() for s in listeners.values())]
    return await connection.ask(message, descriptors)


def _peer_pid(connected: socket.socket) -> int:
    """Read the process at the other end; only the agent's own user is served."""
    raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    pid, uid, _ = struct.unpack("=iII", raw)
    if uid not in {os.getuid(), 0}:
        raise ProxyGoneError(f"process {pid} of user {uid} is not ours")
    return int(pid)
