"""The loop of an init: one thread that serves its clients and reaps.

A client that does not read its replies is disconnected: it connects again and lists, so
nothing is lost and no queue grows.
"""

import os
import selectors
import signal
import socket
import struct
from collections.abc import Callable, Sequence
from typing import NoReturn

from ambimesh.local.init import wire
from ambimesh.local.init.operations import Operations, RefusedError
from ambimesh.local.init.processes import Process, Processes, raise_file_limit
from ambimesh.local.init.protocol import (
    MAX_DATAGRAM_BYTES,
    MAX_DESCRIPTORS,
    DeleteSandbox,
    Done,
    Failure,
    Follow,
    Message,
    Refused,
    Request,
    Shutdown,
    Spawn,
)

_PEER_CREDENTIALS = struct.Struct("=iII")  # pid, uid, gid
_SEND_BUFFER_BYTES = 1 << 20  # the kernel gives less to ordinary users
_RESCAN_SECONDS = 0.02  # while a sandbox's last processes are dying
Answer = Callable[[Message, Sequence[int]], None]


class Client:
    """One connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.follows: set[str] = set()

    def send(self, message: Message, descriptors: Sequence[int] = ()) -> bool:
        """Send without waiting; ``False`` when the client is gone or does not read."""
        try:
            socket.send_fds(
                self.connection, [wire.encode(message)], list(descriptors), socket.MSG_NOSIGNAL
            )
        except OSError:
            return False
        return True


class Program:
    """An init that listens on ``listener``, a bound SOCK_SEQPACKET socket."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._processes = Processes(raise_file_limit())
        self._operations = Operations(self._processes)
        self._clients: dict[int, Client] = {}
        self._starting: dict[int, tuple[Process, Answer]] = {}  # by pipe
        self._dying: dict[str, list[Answer]] = {}  # sandboxes, with who waits for their end

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
            for key, _ in self._selector.select(_RESCAN_SECONDS if self._dying else None):
                key.data()
            for sandbox in tuple(self._dying):
                self._kill_inhabitants(sandbox)

    # -- events ----------------------------------------------------------------------------

    def _watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def _woken(self, wake: socket.socket) -> None:
        wake.recv(4096)
        for process in self._processes.reap():
            assert process.exit is not None
            for client in tuple(self._clients.values()):
                if process.spawn.owner in client.follows and not client.send(process.exit):
                    self._disconnect(client)
        for descriptor, (process, _) in tuple(self._starting.items()):
            if process.report is None:  # settled by the reaping
                self._answer_spawn(descriptor)

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the client has left, or there are no descriptors for it
            return
        data = connection.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
        )
        _, uid, _ = _PEER_CREDENTIALS.unpack(data)
        if uid != os.geteuid():
            connection.close()
            return
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        client = Client(connection)
        self._clients[connection.fileno()] = client
        self._watch(connection.fileno(), lambda: self._receive(client))

    def _disconnect(self, client: Client) -> None:
        if self._clients.pop(client.connection.fileno(), None) is not None:
            self._selector.unregister(client.connection.fileno())
            client.connection.close()

    def _receive(self, client: Client) -> None:
        if client.connection.fileno() not in self._clients:
            return  # disconnected earlier in this round
        try:
            data, descriptors, flags, _ = socket.recv_fds(
                client.connection,
                MAX_DATAGRAM_BYTES + 1,
                MAX_DESCRIPTORS,
                socket.MSG_CMSG_CLOEXEC,
            )
        except BlockingIOError:
            return
        except OSError:
            data, descriptors, flags = b"", [], 0
        try:
            if data:
                self._serve(client, data, descriptors, flags)
            else:
                self._disconnect(client)
        finally:
            for descriptor in descriptors:  # what an operation wants to keep, it has copied
                os.close(descriptor)

    # -- requests --------------------------------------------------------------------------

    def _serve(self, client: Client, data: bytes, descriptors: Sequence[int], flags: int) -> None:
        def answer(message: Message, given: Sequence[int]) -> None:
            if not client.send(message, given):
                self._disconnect(client)

        number = None
        try:
            if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                raise wire.ProtocolError("a message was cut")
            message = wire.decode(data)
            if not isinstance(message, Request):
                raise wire.ProtocolError("not a request")
            number = message.id
            self._do(client, message, descriptors, answer)
        except wire.ProtocolError as error:
            number = number if number is not None else error.request
            if number is None:
                self._disconnect(client)
            else:
                answer(_refusal(number, RefusedError(Failure.BAD_REQUEST, str(error))), ())
        except RefusedError as error:
            assert number is not None
            answer(_refusal(number, error), ())

    def _do(
        self, client: Client, request: Request, descriptors: Sequence[int], answer: Answer
    ) -> None:
        operation = request.operation
        match operation:
            case Spawn():
                process = self._operations.spawn(operation, descriptors, dying=self._dying)
                assert process.report is not None
                self._starting[process.report] = (process, _numbered(request.id, answer))
                pipe = process.report
                self._watch(pipe, lambda: self._answer_spawn(pipe))
            case Follow(owner=owner):
                client.follows.add(owner)
                answer(Done(id=request.id), ())
            case DeleteSandbox(key=key):
                waiting = self._dying.setdefault(key, [])
                waiting.append(_numbered(request.id, answer))
                self._kill_inhabitants(key)
            case Shutdown():
                os._exit(0)  # the first process: the kernel ends all others
            case _:
                facts, given = self._operations.do(operation, descriptors)
                answer(Done(id=request.id, facts=facts), given)

    def _answer_spawn(self, pipe: int) -> None:
        if pipe not in self._starting:
            return  # answered earlier in this round
        process, answer = self._starting.pop(pipe)
        self._selector.unregister(pipe)
        if process.report is not None:
            self._processes.settle(process)
        if process.failed is None:
            answer(Done(id=0, facts={"pid": process.pid}), ())
        else:
            failed = process.failed
            answer(_refusal(0, RefusedError(Failure.SYSTEM, failed.text, failed)), ())

    def _kill_inhabitants(self, sandbox: str) -> None:
        if not self._operations.kill_inhabitants(sandbox):
            return
        for answer in self._dying.pop(sandbox):
            answer(Done(id=0), ())


def _numbered(number: int, answer: Answer) -> Answer:
    """Give an ``answer`` that puts ``number`` into what is sent later."""

    def later(message: Message, descriptors: Sequence[int]) -> None:
        match message:
            case Done(facts=facts):
                answer(Done(id=number, facts=facts), descriptors)
            case Refused():
                answer(
                    Refused(
                        id=number,
                        failure=message.failure,
                        text=message.text,
                        stage=message.stage,
                        errno=message.errno,
                    ),
                    descriptors,
                )
            case _:
                answer(message, descriptors)

    return later


def _refusal(number: int, error: RefusedError) -> Refused:
    stage, errno = (error.failed.stage, error.failed.errno) if error.failed else ("", 0)
    return Refused(id=number, failure=error.failure, text=str(error), stage=stage, errno=errno)


def _do_nothing(_number: int, _frame: object) -> None:
    """Exist: a handled SIGCHLD wakes the selector, an ignored one would not."""
