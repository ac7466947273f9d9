"""Unix SOCK_SEQPACKET sockets: paths of any length, for their owner only, with descriptors."""

import os
import socket
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ambimesh.local.init.protocol import MAX_DATAGRAM_BYTES, MAX_DESCRIPTORS

_BACKLOG = 64
_O_PATH = 0x20_0000


@dataclass(frozen=True, slots=True)
class Received:
    """One datagram; no bytes at all mean that the other end has gone."""

    data: bytes
    descriptors: tuple[int, ...]
    is_cut: bool  # a part of it, or a descriptor, did not arrive


def listen(path: Path) -> socket.socket:
    """Listen at ``path``, mode 0600. The socket of a process that has died is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        with _short(path) as short:
            listener.bind(short)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener


def connect(path: Path) -> socket.socket:
    """Connect to ``path``; the socket does not block afterwards. Errors: ``OSError``."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with _short(path) as short:
            connection.connect(short)
        connection.setblocking(False)
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name for ``path`` that fits the 107 bytes of a socket address."""
    folder = os.open(path.parent, _O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def send(connection: socket.socket, data: bytes, descriptors: Sequence[int] = ()) -> None:
    """Send one datagram and copies of descriptors. Errors: ``OSError``, nothing was sent."""
    beside = array("i", descriptors)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, beside)] if descriptors else []
    connection.sendmsg([data], rights, socket.MSG_NOSIGNAL)


def receive(connection: socket.socket) -> Received:
    """Receive one datagram; its descriptors are the caller's. Errors: ``OSError``.

    They are closed by exec: ``socket.recv_fds`` of Python 3.11 takes flags and forgets them,
    so every program started later would inherit them.
    """
    beside = socket.CMSG_LEN(MAX_DESCRIPTORS * array("i").itemsize)
    data, ancillary, flags, _ = connection.recvmsg(
        MAX_DATAGRAM_BYTES, beside, socket.MSG_CMSG_CLOEXEC
    )
    descriptors = array("i")
    for level, kind, rights in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
    cut = bool(flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC))
    return Received(data, tuple(descriptors), is_cut=cut)
