"""Going through a node's door from the command line: exec, logs, port-forward."""

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import sys
import termios
import tty
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import ExitCode, UnreachableError, UsageError
from ambimesh.kube.documents import Document
from ambimesh.local.door import (
    CHUNK_BYTES,
    Channel,
    DoorConnection,
    DoorError,
    DoorRequest,
    DoorStatus,
    Size,
    decode_status,
    open_door,
)
from ambimesh.local.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class PodPlace:
    """Which pod, and on which node it is."""

    namespace: str
    name: str
    uid: str
    node: str


def find_pod(pod: Document) -> PodPlace:
    """Read where a pod is.

    Raises:
        UsageError: AMB0422, it is on no node yet.
    """
    meta = pod["metadata"]
    node = pod.get("spec", {}).get("nodeName")
    if not node:
        raise UsageError(
            catalogue.POD_NOT_PLACED.problem(pod=f"{meta['namespace']}/{meta['name']}")
        )
    return PodPlace(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"], node=node)


class PodDoor:
    """The door to one pod."""

    def __init__(self, home: Path, pod: PodPlace) -> None:
        self._path = Home(home).door_socket(pod.node)
        self._pod = pod

    def request(self, **wanted: object) -> DoorRequest:
        """Make a request about this pod."""
        pod = {"namespace": self._pod.namespace, "pod": self._pod.name, "uid": self._pod.uid}
        return msgspec.convert({**pod, **wanted}, DoorRequest)

    async def open(self, request: DoorRequest) -> DoorConnection:
        """Begin an operation.

        Raises:
            UnreachableError: AMB0423, nobody is behind the door, or it says no.
            UsageError: AMB0424, the program cannot be started; ends with a shell's exit code.
        """
        try:
            opened = await open_door(self._path, request)
        except DoorError as error:
            raise self._refused(str(error)) from error
        if isinstance(opened, DoorStatus):
            if opened.exit_code is not None:
                raise self._not_started(opened)
            raise self._refused(opened.message)
        return opened

    async def logs(self, out: BinaryIO, *, container: str = "", follow: bool = False,
                   tail_lines: int | None = None, previous: bool = False) -> None:  # fmt: skip
        """Copy a container's output to ``out``."""
        request = self.request(
            op="logs", container=container, follow=follow, tail_lines=tail_lines, previous=previous
        )
        connection = await self.open(request)
        while frame := await connection.read():
            if frame.channel is Channel.STDOUT:
                out.write(frame.payload)
                out.flush()
            elif frame.channel is Channel.STATUS:
                status = decode_status(frame.payload)
                if not status.is_success:
                    raise self._refused(status.message)
                break
        connection.close()

    async def exec(self, command: tuple[str, ...], *, container: str, terminal: bool,
                   interactive: bool) -> int:  # fmt: skip
        """Run a command with our standard streams; return its exit code."""
        request = self.request(
            op="exec", container=container, command=command, tty=terminal, stdin=interactive
        )
        connection = await self.open(request)
        with _raw_terminal() if terminal else contextlib.nullcontext():
            async with asyncio.TaskGroup() as tasks:
                helpers = []
                if interactive:
                    helpers.append(tasks.create_task(_until_lost(_send_input(connection))))
                if terminal and sys.stdin.isatty():
                    helpers.append(tasks.create_task(_until_lost(_send_sizes(connection))))
                status = await _take_output(connection)
                for helper in helpers:
                    helper.cancel()
        connection.close()
        if status.message:
            sys.stderr.write(f"{status.message}\n")
        return status.exit_code if status.exit_code is not None else int(not status.is_success)

    def _not_started(self, status: DoorStatus) -> UsageError:
        pod = f"{self._pod.namespace}/{self._pod.name}"
        error = UsageError(catalogue.EXEC_NOT_STARTED.problem(pod=pod, cause=status.message))
        error.exit_code = status.exit_code or ExitCode.USAGE
        return error

    def _refused(self, cause: str) -> UnreachableError:
        return UnreachableError(
            catalogue.DOOR_CLOSED.problem(
                pod=f"{self._pod.namespace}/{self._pod.name}", node=self._pod.node, cause=cause
            )
        )


async def _until_lost(work: Coroutine[Any, Any, None]) -> None:
    """Send until the program has ended and its node takes no more; its status says the rest."""
    with contextlib.suppress(ConnectionError):
        await work


async def _take_output(connection: DoorConnection) -> DoorStatus:
    while frame := await connection.read():
        if frame.channel is Channel.STDOUT:
            sys.stdout.buffer.write(frame.payload)
            sys.stdout.buffer.flush()
        elif frame.channel is Channel.STDERR:
            sys.stderr.buffer.write(frame.payload)
            sys.stderr.buffer.flush()
        elif frame.channel is Channel.STATUS:
            return decode_status(frame.payload)
    return DoorStatus(code=502, message="the node has gone", exit_code=1)


async def _send_input(connection: DoorConnection) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (ValueError, OSError):  # a regular file, or nothing
        while data := await asyncio.to_thread(os.read, sys.stdin.fileno(), CHUNK_BYTES):
            await connection.send(Channel.STDIN, data)
    else:
        while data := await reader.read(CHUNK_BYTES):
            await connection.send(Channel.STDIN, data)
    await connection.finish(Channel.STDIN)


async def _send_sizes(connection: DoorConnection) -> None:
    changed = asyncio.Event()
    changed.set()
    asyncio.get_running_loop().add_signal_handler(signal.SIGWINCH, changed.set)
    while True:
        await changed.wait()
        changed.clear()
        packed = fcntl.ioctl(sys.stdin, termios.TIOCGWINSZ, bytes(8))
        rows, columns, _, _ = struct.unpack("HHHH", packed)
        await connection.send(Channel.RESIZE, msgspec.json.encode(Size(width=columns, height=rows)))


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    descriptor = sys.stdin.fileno()
    if not os.isatty(descriptor):
        yield
        return
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
