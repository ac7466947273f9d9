"""The asyncio client of an init: what the supervisor, the node agent and the doors use."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ambimesh.local.init import sockets, wire
from ambimesh.local.init.protocol import (
    Acknowledge,
    CreateSandbox,
    DeleteSandbox,
    Done,
    Drop,
    Exit,
    Fetch,
    Follow,
    Keep,
    ListProcesses,
    ListSandboxes,
    Message,
    OpenNetwork,
    OpenSandbox,
    Operation,
    ProcessState,
    Refused,
    Request,
    Shutdown,
    Signal,
    Spawn,
)


class InitError(Exception):
    """An init did not do what it was asked."""


class InitLostError(InitError):
    """The init is gone, or never was there; whatever ran in its namespaces has ended."""


class InitRefusedError(InitError):
    """The init answered no.

    ``failure`` says why. For ``Failure.SYSTEM``, ``stage`` is what was being done ("exec",
    "cwd", "log", "bind", "credentials", "sandbox", ...) and ``errno`` what the kernel said:
    a command that does not exist is stage "exec" with ENOENT.
    """

    def __init__(self, reply: Refused) -> None:
        super().__init__(reply.text)
        self.failure = reply.failure
        self.stage = reply.stage
        self.errno = reply.errno


@dataclass(frozen=True, slots=True)
class _Reply:
    """What came back for one request."""

    facts: Mapping[str, Any]
    descriptors: Sequence[int]


class InitClient:
    """One connection to an init. Use it in one event loop; calls may overlap.

    Every call raises ``InitRefusedError`` when the init says no and ``InitLostError`` when it
    is gone. Deadlines are the caller's (``asyncio.timeout``); a cancelled call may still be
    done by the init, so repeat it under the same key and take ``Failure.EXISTS`` for done.
    Descriptors passed in stay the caller's; descriptors handed out belong to the caller.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Take over a connected, non-blocking socket; ``connect`` makes one."""
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[_Reply]] = {}
        self._exits: dict[str, asyncio.Queue[Exit | None]] = {}
        self._sending = asyncio.Lock()
        self._writable = asyncio.Event()
        self._number = 0
        self._is_lost = False
        self._loop.add_reader(connection, self._receive)

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """Connect to the init that listens at ``path``.

        Errors: ``InitLostError`` when nobody listens there.
        """
        try:
            return cls(sockets.connect(path))
        except OSError as error:
            raise InitLostError(f"no init answers at {path}") from error

    async def __aenter__(self) -> Self:
        """Give the client itself; it is closed at the end of the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self.close()

    def close(self) -> None:
        """Close the connection; what was started keeps running."""
        if self._connection.fileno() >= 0:
            self._lose()

    @property
    def is_lost(self) -> bool:
        """Whether the init is gone or the connection closed."""
        return self._is_lost

    # -- processes -------------------------------------------------------------------------

    async def spawn(self, spawn: Spawn, descriptors: Sequence[int] = ()) -> int:
        """Start a process and wait until its program runs; returns its pid.

        ``descriptors`` go with ``spawn.descriptors``, one to one. The pid counts in the init's
        process namespace. Errors: ``Failure.EXISTS`` (the key is in use), ``NOT_FOUND`` (no
        such sandbox), ``SYSTEM`` with stage and errno.
        """
        reply = await self._call(spawn, descriptors)
        return int(reply.facts["pid"])

    async def signal(self, key: str, number: int, *, leader_only: bool = False) -> None:
        """Signal the process group of ``key``. ``Failure.NOT_FOUND``: it does not run."""
        await self._call(Signal(key=key, number=number, leader_only=leader_only))

    async def processes(self, owner: str | None = None) -> tuple[ProcessState, ...]:
        """List what runs, and what ended without being acknowledged; by key."""
        found: list[ProcessState] = []
        more = True
        while more:
            after = found[-1].key if found else ""
            facts = (await self._call(ListProcesses(owner=owner, after=after))).facts
            found += [
                wire.convert(ProcessState, shape, "processes") for shape in facts["processes"]
            ]
            more = bool(facts["more"])
        return tuple(found)

    async def exits(self, owner: str) -> AsyncGenerator[Exit, None]:
        """Yield every unacknowledged exit of ``owner``: first those of the past, then new ones.

        Endless; raises ``InitLostError`` at the end of the init. Each exit comes once per
        client, so a client that restarts sees again what it did not ``acknowledge``. One
        iterator for each owner. A queue is bounded by the number of processes.
        """
        queue = self._exits[owner] = asyncio.Queue()
        try:
            await self._call(Follow(owner=owner))
            told: set[tuple[str, float]] = set()  # a key may be used again later
            for process in await self.processes(owner):
                if process.exit is not None:
                    told.add((process.key, process.exit.finished_at))
                    yield process.exit
            while (ended := await queue.get()) is not None:
                if (ended.key, ended.finished_at) not in told:
                    yield ended
        finally:
            self._exits.pop(owner, None)
        raise InitLostError("the init has ended")

    async def acknowledge(self, key: str) -> None:
        """Forget the ended process ``key``. Unknown keys are fine, running ones ``EXISTS``."""
        await self._call(Acknowledge(key=key))

    # -- sandboxes -------------------------------------------------------------------------

    async def create_sandbox(self, key: str, sysctls: Mapping[str, str] | None = None) -> int:
        """Make a network namespace with loopback up; returns its descriptor.

        ``sysctls``: for example {"net.ipv4.ip_unprivileged_port_start": "0"}.
        """
        return await self._one(CreateSandbox(key=key, sysctls=sysctls or {}))

    async def open_sandbox(self, key: str) -> int:
        """Give the descriptor of a sandbox. ``Failure.NOT_FOUND``: there is none."""
        return await self._one(OpenSandbox(key=key))

    async def delete_sandbox(self, key: str) -> None:
        """Kill everything in a sandbox and forget it, with what is kept under its key.

        Returns when no process is left in it. Unknown keys are fine.
        """
        await self._call(DeleteSandbox(key=key))

    async def sandboxes(self) -> tuple[str, ...]:
        """List the keys of all sandboxes, sorted."""
        return tuple((await self._call(ListSandboxes())).facts["keys"])

    # -- descriptors -----------------------------------------------------------------------

    async def keep(self, key: str, descriptors: Mapping[str, int]) -> None:
        """Keep copies of descriptors under ``key``, by name; same names are replaced."""
        names = tuple(descriptors)
        await self._call(Keep(key=key, names=names), tuple(descriptors.values()))

    async def fetch(self, key: str) -> dict[str, int]:
        """Give copies of all that is kept under ``key``; empty when nothing is."""
        reply = await self._call(Fetch(key=key))
        return dict(zip(reply.facts["names"], reply.descriptors, strict=True))

    async def drop(self, key: str) -> None:
        """Close all that is kept under ``key``."""
        await self._call(Drop(key=key))

    async def open_network(self) -> int:
        """Give the descriptor of the init's own network namespace (a node's)."""
        return await self._one(OpenNetwork())

    async def shutdown(self) -> None:
        """End the init, and so everything in its namespaces. Returns when it is gone."""
        try:
            await self._call(Shutdown())
        except InitLostError:
            return

    # -- the wire --------------------------------------------------------------------------

    async def _one(self, operation: Operation) -> int:
        (descriptor,) = (await self._call(operation)).descriptors
        return descriptor

    async def _call(self, operation: Operation, descriptors: Sequence[int] = ()) -> _Reply:
        self._number += 1
        number = self._number
        data = wire.encode(Request(id=number, operation=operation))
        reply: asyncio.Future[_Reply] = self._loop.create_future()
        self._waiting[number] = reply
        try:
            await self._send(data, descriptors)
            return await reply
        finally:
            self._waiting.pop(number, None)
            if reply.done() and not reply.cancelled():
                reply.exception()  # a loss that the send has reported already

    async def _send(self, data: bytes, descriptors: Sequence[int]) -> None:
        async with self._sending:
            while not self._is_lost:
                try:
                    sockets.send(self._connection, data, descriptors)
                except BlockingIOError:
                    await self._wait_writable()
                except OSError:
                    self._lose()
                else:
                    return
        raise InitLostError("the init has ended")

    async def _wait_writable(self) -> None:
        self._writable.clear()
        self._loop.add_writer(self._connection, self._writable.set)
        try:
            await self._writable.wait()
        finally:
            if not self._is_lost:
                self._loop.remove_writer(self._connection)

    def _receive(self) -> None:
        try:
            received = sockets.receive(self._connection)
        except BlockingIOError:
            return
        except OSError:
            self._lose()
            return
        try:
            message = wire.decode(received.data)
        except wire.ProtocolError:  # the end, or not an init of this version
            _close_all(received.descriptors)
            self._lose()
        else:
            self._deliver(message, received.descriptors)

    def _deliver(self, message: Message, descriptors: Sequence[int]) -> None:
        reply = None
        match message:
            case Exit(owner=owner):
                if owner in self._exits:
                    self._exits[owner].put_nowait(message)
            case Done(id=number, facts=facts):
                reply = self._waiting.get(number)
                if reply is not None and not reply.done():
                    reply.set_result(_Reply(facts, descriptors))
                    return
            case Refused(id=number):
                reply = self._waiting.get(number)
                if reply is not None and not reply.done():
                    reply.set_exception(InitRefusedError(message))
        _close_all(descriptors)  # of a call that was cancelled

    def _lose(self) -> None:
        self._is_lost = True
        self._loop.remove_reader(self._connection)
        self._loop.remove_writer(self._connection)
        self._connection.close()
        self._writable.set()
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(InitLostError("the init has ended"))
        for queue in self._exits.values():
            queue.put_nowait(None)


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
