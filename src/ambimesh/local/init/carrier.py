"""Make the namespaces of an init and start it in them: a program of its own.

The carrier waits for the init and ends as it ended. Death goes down the chain: when the thread
that started the carrier ends, so does the carrier, then the init, and with a first process the
kernel ends everything in its namespaces.

    carrier: die with parent; [new user namespace; die with parent]; new namespaces; fork
    init:    die with parent; private mounts; own /proc; host name; loopback; listen; serve
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from ambimesh.local.init.program import Program
from ambimesh.local.init.sockets import listen
from ambimesh.local.programs import isolated
from ambimesh.node import namespace

_NAMESPACES = (
    namespace.CLONE_NEWNS
    | namespace.CLONE_NEWPID
    | namespace.CLONE_NEWNET
    | namespace.CLONE_NEWUTS
    | namespace.CLONE_NEWIPC
)
_PROC_FLAGS = namespace.MS_NOSUID | namespace.MS_NODEV | namespace.MS_NOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a carrier needs to know."""

    socket: str  # path where the init listens
    hostname: str
    parent: int  # pid of who starts it, as the carrier sees it
    user_namespace: bool  # rootless: first become root in a user namespace of its own
    report: int  # descriptor where it says "ready", or what failed


@dataclass(frozen=True, slots=True)
class StartReport:
    """What a carrier wrote: it is ready, or the step that failed and the kernel's number."""

    stage: str = "ready"
    errno: int = 0

    @property
    def is_ready(self) -> bool:
        """Whether the init listens."""
        return self.stage == "ready"

    def encode(self) -> bytes:
        """Give it as it travels."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "StartReport":
        """Read what ``encode`` wrote; nothing at all means that the carrier was killed."""
        if not data:
            return cls("killed")
        shape = json.loads(data)
        return cls(str(shape["stage"]), int(shape["errno"]))


def command(settings: Settings) -> tuple[str, ...]:
    """Give the command that runs a carrier with ``settings``."""
    return isolated(__name__, json.dumps(asdict(settings)))


def main() -> NoReturn:
    """Run the carrier, then (in its child) the init."""
    settings = Settings(**json.loads(sys.argv[1]))
    os.chdir("/")
    with _step(settings, "parent"):
        _die_with(settings.parent)
    if settings.user_namespace:
        with _step(settings, "user namespace"):
            _enter_user_namespace()
            _die_with(settings.parent)  # the change of credentials cleared it
    with _step(settings, "namespaces"):
        namespace.unshare(_NAMESPACES)
    with _step(settings, "fork"):
        alive, held = os.pipe()  # ends when the carrier does
        init = os.fork()
    if init == 0:
        os.close(held)
        _become_init(settings, alive)
    os.close(alive)
    os.close(settings.report)
    _ignore_requests_to_end()
    _, status = os.waitpid(init, 0)
    os._exit(max(os.waitstatus_to_exitcode(status), 0))


def _become_init(settings: Settings, alive: int) -> NoReturn:
    with _step(settings, "parent"):
        namespace.die_with_parent(signal.SIGKILL)
        if _has_ended(alive):
            os._exit(1)  # the carrier died before it could take us along
    with _step(settings, "mounts"):
        namespace.make_mounts_private()
    with _step(settings, "proc"):
        namespace.mount("proc", "/proc", filesystem="proc", flags=_PROC_FLAGS)
    with _step(settings, "hostname"):
        socket.sethostname(settings.hostname)
    with _step(settings, "loopback"):
        namespace.enable_loopback()
    with _step(settings, "socket"):
        program = Program(listen(Path(settings.socket)))
    os.write(settings.report, StartReport().encode())
    os.close(settings.report)
    _ignore_requests_to_end()
    program.run()


def _die_with(parent: int) -> None:
    namespace.die_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    namespace.unshare(namespace.CLONE_NEWUSER)
    namespace.map_user(0, uid, 0, gid)


def _has_ended(pipe: int) -> bool:
    os.set_blocking(pipe, False)
    try:
        return os.read(pipe, 1) == b""
    except BlockingIOError:
        return False


def _ignore_requests_to_end() -> None:
    """Leave only a shutdown, and SIGKILL from outside."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def _step(settings: Settings, name: str) -> Iterator[None]:
    """Report the step that fails in this block, and end."""
    try:
        yield
    except OSError as error:
        os.write(settings.report, StartReport(name, error.errno or 0).encode())
        os._exit(1)
