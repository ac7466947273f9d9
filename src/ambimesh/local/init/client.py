"""The asyncio client of an init: what the supervisor, the node agent and the doors use."""

import array
import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ambimesh.local.init import wire
from ambimesh.local.init.protocol import (
    MAX_DATAGRAM_BYTES,
    MAX_DESCRIPTORS,
    Acknowledge,
    CreateSandbox,
    DeleteSandbox,
    Done,
    Drop,
    Exit,
    Failure,
    Fetch,
    Follow,
    Keep,
    ListProcesses,
    ListSandboxes,
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


@dataclass(slots=True)
class _Reply:
    """What came back for one request."""

    facts: Mapping[str, Any]
    descriptors: list[int] = field(default_factory=list)


class InitClient:
    """One connection to an init. Use it in one event loop; calls may overlap.

    Every call raises ``InitRefusedError`` when the init says no and ``InitLostError`` when it
    is gone. Deadlines are the caller's (``asyncio.timeout``); a cancelled call may still be
    done by the init, so repeat it under the same key and take ``Failure.EXISTS`` for done.
    Descriptors passed in stay the caller's; descriptors handed out belong to the caller.
    """

    @classmethod
    async def connect(cls, path: Path) -> Self:
        """Connect to the init that listens at ``path``.

        Errors: ``InitLostError`` when nobody listens there, or somebody else's process does.
        """
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        """Give the client itself; it is closed at the end of the block."""
        return self

    async def close(self) -> None:
        """Close the connection; what was started keeps running."""

    # -- processes -------------------------------------------------------------------------

    async def spawn(self, spawn: Spawn, descriptors: Sequence[int] = ()) -> int:
        """Start a process and wait until its program runs; returns its pid.

        ``descriptors`` go with ``spawn.descriptors``, one to one. The pid counts in the init's
        process namespace. Errors: ``Failure.EXISTS`` (the key is in use), ``NOT_FOUND`` (no
        such sandbox), ``SYSTEM`` with stage and errno.
        """
        raise NotImplementedError

    async def signal(self, key: str, number: int, *, leader_only: bool = False) -> None:
        """Signal the process group of ``key``. ``Failure.NOT_FOUND``: it does not run."""

    async def processes(self, owner: str | None = None) -> tuple[ProcessState, ...]:
        """List what runs, and what ended without being acknowledged; by key."""
        raise NotImplementedError

    def exits(self, owner: str) -> AsyncIterator[Exit]:
        """Yield every unacknowledged exit of ``owner``: first those of the past, then new ones.

        Endless; raises ``InitLostError`` at the end of the init. Each exit comes once per
        client, so a client that restarts sees again what it did not ``acknowledge``.
        """
        raise NotImplementedError

    async def acknowledge(self, key: str) -> None:
        """Forget the ended process ``key``. Unknown keys are fine, running ones ``EXISTS``."""

    # -- sandboxes -------------------------------------------------------------------------

    async def create_sandbox(self, key: str, sysctls: Mapping[str, str] | None = None) -> int:
        """Make a network namespace with loopback up; returns its descriptor.

        ``sysctls``: for example {"net.ipv4.ip_unprivileged_port_start": "0"}.
        """
        raise NotImplementedError

    async def open_sandbox(self, key: str) -> int:
        """Give the descriptor of a sandbox. ``Failure.NOT_FOUND``: there is none."""
        raise NotImplementedError

    async def delete_sandbox(self, key: str) -> None:
        """Kill everything in a sandbox and forget it, with what is kept under its key.

        Returns when no process is left in it. Unknown keys are fine.
        """

    async def sandboxes(self) -> tuple[str, ...]:
        """List the keys of all sandboxes, sorted."""
        raise NotImplementedError

    # -- descriptors -----------------------------------------------------------------------

    async def keep(self, key: str, descriptors: Mapping[str, int]) -> None:
        """Keep copies of descriptors under ``key``, by name; same names are replaced."""

    async def fetch(self, key: str) -> dict[str, int]:
        """Give copies of all that is kept under ``key``; empty when nothing is."""
        raise NotImplementedError

    async def drop(self, key: str) -> None:
        """Close all that is kept under ``key``."""

    async def open_network(self) -> int:
        """Give the descriptor of the init's own network namespace (a node's)."""
        raise NotImplementedError

    async def shutdown(self) -> None:
        """End the init, and so everything in its namespaces. Returns when it is gone."""
