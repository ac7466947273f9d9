"""Linux namespaces, mounts and sysctls: the system calls that Python 3.11 does not offer.

Only the standard library is imported: the init programs start with this module.
"""

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

CLONE_NEWNS = 0x0002_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x4_0000

_PR_SET_PDEATHSIG = 1
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_IFREQ = struct.Struct("16sh22x")

_libc = ctypes.CDLL(None, use_errno=True)
T = TypeVar("T")


def unshare(flags: int) -> None:
    """Put the calling thread into new namespaces (``CLONE_NEW...``).

    With ``CLONE_NEWPID`` the caller stays where it is and its children go. ``CLONE_NEWUSER``
    and ``CLONE_NEWNS`` want a process with one thread. Errors: ``OSError``.
    """
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(descriptor: int, kind: int) -> None:
    """Move the calling thread into the namespace behind ``descriptor``. Errors: ``OSError``."""
    _check(_libc.setns(descriptor, kind), f"setns {kind:#x}")


def map_user(uid: int, outer_uid: int, gid: int, outer_gid: int) -> None:
    """Say who ``outer_uid`` and ``outer_gid`` are inside the user namespace just made.

    One of each is all an ordinary user may map; it wants setgroups closed first.
    """
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {outer_uid} 1"),
        ("gid_map", f"{gid} {outer_gid} 1"),
    ):
        Path("/proc/self", name).write_text(text, encoding="ascii")


def die_with_parent(signal_number: int) -> None:
    """Have the kernel signal this process when the *thread* that forked it ends.

    A change of credentials clears it: set it again afterwards.
    """
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl PDEATHSIG")


def mount(
    source: str, target: str, *, filesystem: str = "", flags: int = 0, options: str = ""
) -> None:
    """Attach a file system; empty text stands for NULL.

    Errors: ``OSError``. Source: mount(2), whose arguments these are.
    """
    arguments = [os.fsencode(x) if x else None for x in (source, target, filesystem)]
    _check(
        _libc.mount(*arguments, ctypes.c_ulong(flags), options.encode() or None),
        f"mount {source or filesystem} at {target}",
    )


def make_mounts_private() -> None:
    """Let nothing that is mounted from here on be seen outside, nor the other way round."""
    mount("", "/", flags=MS_REC | MS_PRIVATE)


def bind(source: str, target: str, *, read_only: bool = False) -> None:
    """Let ``source`` appear at ``target``, with what is mounted below it.

    Symbolic links are followed on both sides first, since a mount on a link's name would fail
    or cover the wrong file (/etc/resolv.conf often is one).
    """
    target = str(Path(target).resolve())
    mount(str(Path(source).resolve()), target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def run_in(descriptor: int, function: Callable[[], T]) -> T:
    """Call ``function`` in the network namespace behind ``descriptor``; return its result.

    It runs on a fresh thread that ends with it, so no other thread ever changes namespace.
    Sockets made there stay there. Blocking: until ``function`` returns. Errors: whatever it
    raises; ``OSError`` when the namespace cannot be entered.
    """
    visit = _Visit(descriptor, function)
    thread = threading.Thread(target=visit.run, name=f"netns {descriptor}")
    thread.start()
    thread.join()
    return visit.result()


def enable_loopback() -> None:
    """Bring ``lo`` up in the calling thread's network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = _IFREQ.pack(b"lo", 0)
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, request)
        _, flags = _IFREQ.unpack(answer)
        fcntl.ioctl(control, _SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | _IFF_UP))


def write_sysctl(name: str, value: str) -> None:
    """Set ``name`` ("net.ipv4.ip_forward") for the calling thread's network namespace.

    Errors: ``OSError``; ``FileNotFoundError`` when the kernel (or a module) has none of it.
    """
    Path("/proc/sys", *name.split(".")).write_text(value, encoding="ascii")


def read_sysctl(name: str) -> str:
    """Read ``name`` in the calling thread's network namespace."""
    return Path("/proc/sys", *name.split(".")).read_text(encoding="ascii").strip()


class NetworkNamespace:
    """A network namespace held by a descriptor, without a name in the file system.

    It lives as long as a descriptor, a process, a socket or a veth peer keeps it.
    """

    def __init__(self, descriptor: int) -> None:
        """Take over ``descriptor``."""
        self._descriptor = descriptor

    @classmethod
    def create(cls) -> Self:
        """Make a new one with loopback up; the caller's own namespace does not change."""

        def make() -> int:
            unshare(CLONE_NEWNET)
            enable_loopback()
            return _open("/proc/thread-self/ns/net")

        return cls(_on_fresh_thread(make))

    @classmethod
    def of_process(cls, pid: int) -> Self:
        """Open that of a process. Errors: ``FileNotFoundError`` (gone), ``PermissionError``."""
        return cls(_open(f"/proc/{pid}/ns/net"))

    @classmethod
    def current(cls) -> Self:
        """Open that of the calling thread."""
        return cls(_open("/proc/thread-self/ns/net"))

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode: equal for two descriptors of one namespace, unique while it lives."""
        status = os.fstat(self._descriptor)
        return status.st_dev, status.st_ino

    def run(self, function: Callable[[], T]) -> T:
        """Call ``function`` inside; see ``run_in``."""
        return run_in(self._descriptor, function)

    def fileno(self) -> int:
        """Give the descriptor; it stays this object's."""
        return self._descriptor

    def close(self) -> None:
        """Give the namespace up; harmless when done twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Visit(Generic[T]):
    """One call on a fresh thread, in a namespace or (descriptor -1) where the thread starts."""

    def __init__(self, descriptor: int, function: Callable[[], T]) -> None:
        self._descriptor = descriptor
        self._function = function
        self._results: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            if self._descriptor >= 0:
                setns(self._descriptor, CLONE_NEWNET)
            self._results.append(self._function())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller's thread
            self._error = error

    def result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._results[0]


def _on_fresh_thread(function: Callable[[], T]) -> T:
    """Call ``function`` on a thread of its own, which may then change its namespaces."""
    return run_in(-1, function)


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _check(result: int, what: str) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
