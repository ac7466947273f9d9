"""The loop of an init: one thread that serves its clients and reaps.

A client that does not read its replies is disconnected: it connects again and lists, so
nothing is lost and no queue grows.
"""

import os
import selectors
import signal
import socket
import struct
import traceback
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn

from ambimesh.local.init import sockets, wire
from ambimesh.local.init.operations import Operations, RefusedError
from ambimesh.local.init.processes import Process, Processes, raise_file_limit
from ambimesh.local.init.protocol import (
    DeleteSandbox,
    Done,
    Exit,
    Failure,
    Follow,
    Message,
    Operation,
    Refused,
    Request,
    Shutdown,
    Spawn,
)

_PEER_CREDENTIALS = struct.Struct("=iII")  # pid, uid, gid
_READ = selectors.EVENT_READ
_SEND_BUFFER_BYTES = 1 << 20  # the kernel gives less to ordinary users
_RESCAN_SECONDS = 0.02  # while a sandbox's last processes are dying


class Client:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.follows: set[str] = set()
        self.untold: deque[Exit] = deque()  # bounded by the number of processes
        self.is_lost = False

    def answer(self, message: Done | Refused, descriptors: Sequence[int] = ()) -> None:
        """Send without waiting; a client that asks and does not read is lost."""
        if not self._sent(message, descriptors):
            self.is_lost = True

    def tell(self, ended: Exit) -> None:
        """Send ``ended`` now, or keep it in ``untold`` until the client reads again."""
        self.untold.append(ended)
        self.catch_up()

    def catch_up(self) -> None:
        """Send what is untold, as far as it goes."""
        while self.untold and self._sent(self.untold[0]):
            self.untold.popleft()

    def _sent(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        data = wire.encode(message)
        try:
            sockets.send(self.connection, data, descriptors)
        except BlockingIOError:
            return False
        except OSError:
            self.is_lost = True
        return True


@dataclass(frozen=True, slots=True)
class Reply:
    """The one answer to a request, now or later."""

    client: Client
    number: int

    def done(self, facts: Mapping[str, object], descriptors: Sequence[int] = ()) -> None:
        """Say what was done."""
        try:
            self.client.answer(Done(id=self.number, facts=facts), descriptors)
        except wire.ProtocolError as error:
            self.refuse(RefusedError(Failure.BAD_REQUEST, str(error)))

    def refuse(self, error: RefusedError) -> None:
        """Say why it was not done."""
        failed = error.failed
        self.client.answer(
            Refused(
                id=self.number,
                failure=error.failure,
                text=str(error),
                stage=failed.stage if failed else "",
                errno=failed.number if failed else 0,
            )
        )


class Program:
    """An init that listens on ``listener``, a bound SOCK_SEQPACKET socket."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._processes = Processes(raise_file_limit())
        self._operations = Operations(self._processes)
        self._clients: set[Client] = set()
        self._starting: dict[int, tuple[Process, Reply]] = {}  # by pipe
        self._dying: dict[str, list[Reply]] = {}  # sandboxes, with who waits for their end

    def run(self) -> NoReturn:
        """Serve for ever; a shutdown ends the process."""
        wake, waker = socket.socketpair()
        for end in (wake, waker):
            end.setblocking(False)
        signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _do_nothing)
        self._listener.setblocking(False)
        self._watch(self._listener.fileno(), self._accept)
        self._watch(wake.fileno(), lambda: self._woken(wake))
        while True:
            self._round()

    def _round(self) -> None:
        """Serve what is ready now."""
        for key, _ in self._selector.select(_RESCAN_SECONDS if self._dying else None):
            if self._selector.get_map().get(key.fd) is key:  # not closed earlier in this round
                key.data()
        for sandbox in tuple(self._dying):
            self._kill_inhabitants(sandbox)
        for client in tuple(self._clients):
            if client.is_lost:
                self._clients.remove(client)
                self._selector.unregister(client.connection)
                client.connection.close()
            else:
                self._selector.modify(
                    client.connection,
                    _READ | selectors.EVENT_WRITE if client.untold else _READ,
                    lambda client=client: self._receive(client),
                )

    # -- events ----------------------------------------------------------------------------

    def _watch(self, source: int | socket.socket, callback: Callable[[], None]) -> None:
        self._selector.register(source, _READ, callback)

    def _woken(self, wake: socket.socket) -> None:
        wake.recv(4096)
        for process in self._processes.reap():
            assert process.exit is not None
            for client in self._clients:
                if process.spawn.owner in client.follows:
                    client.tell(process.exit)
        for pipe, (process, _) in tuple(self._starting.items()):
            if process.report is None:  # settled by the reaping
                self._answer_spawn(pipe)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has left, or there are no descriptors for it
            return
        size = _PEER_CREDENTIALS.size
        peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        if _PEER_CREDENTIALS.unpack(peer)[1] != os.geteuid():
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        client = Client(connection)
        self._clients.add(client)
        self._watch(connection, lambda: self._receive(client))

    def _receive(self, client: Client) -> None:
        client.catch_up()
        try:
            received = sockets.receive(client.connection)
        except BlockingIOError:
            return
        except OSError:
            client.is_lost = True
            return
        try:
            if received.data:
                self._serve(client, received)
            else:
                client.is_lost = True
        finally:
            for descriptor in received.descriptors:  # what is to be kept, has been copied
                os.close(descriptor)

    # -- requests --------------------------------------------------------------------------

    def _serve(self, client: Client, received: sockets.Received) -> None:
        """Answer one datagram; what has no number to answer under ends the connection."""
        try:
            message = wire.decode(received.data)
        except wire.ProtocolError as error:
            self._reject(client, error)
            return
        if not isinstance(message, Request):
            client.is_lost = True
            return
        reply = Reply(client, message.id)
        if received.is_cut:
            reply.refuse(RefusedError(Failure.BAD_REQUEST, "descriptors were lost on the way"))
            return
        try:
            self._do(message.operation, received.descriptors, reply)
        except RefusedError as error:
            reply.refuse(error)
        except Exception as error:  # noqa: BLE001  # a bug ends one request, never all pods
            traceback.print_exc()
            reply.refuse(RefusedError(Failure.SYSTEM, f"{type(error).__name__}: {error}"))

    def _reject(self, client: Client, error: wire.ProtocolError) -> None:
        if error.request is None:
            client.is_lost = True
        else:
            refused = RefusedError(Failure.BAD_REQUEST, str(error))
            Reply(client, error.request).refuse(refused)

    def _do(self, operation: Operation, descriptors: Sequence[int], reply: Reply) -> None:
        match operation:
            case Spawn():
                process = self._operations.spawn(operation, descriptors, dying=self._dying)
                pipe = process.report
                assert pipe is not None
                self._starting[pipe] = (process, reply)
                self._watch(pipe, lambda: self._answer_spawn(pipe))
            case Follow(owner=owner):
                reply.client.follows.add(owner)
                reply.done({})
            case DeleteSandbox(key=key):
                self._dying.setdefault(key, []).append(reply)
                self._kill_inhabitants(key)
            case Shutdown():
                os._exit(0)  # the first process: the kernel ends all others
            case _:
                reply.done(*self._operations.do(operation, descriptors))

    def _answer_spawn(self, pipe: int) -> None:
        """Answer for a child whose pipe has something to say, or has been read."""
        self._selector.unregister(pipe)
        process, reply = self._starting.pop(pipe)
        if process.report is not None:
            self._processes.settle(process)
        if process.failed is None:
            reply.done({"pid": process.pid})
        else:
            failed = process.failed
            reply.refuse(RefusedError(Failure.SYSTEM, failed.text, failed))

    def _kill_inhabitants(self, sandbox: str) -> None:
        if self._operations.kill_inhabitants(sandbox):
            for reply in self._dying.pop(sandbox):
                reply.done({})


def _do_nothing(_number: int, _frame: object) -> None:
    """Exist: a handled SIGCHLD wakes the selector, an ignored one would not."""
