"""What an init and its clients say to each other: one JSON object in each datagram.

A request is ``{"id": n, "do": name, "with": {...}}``. Its one reply carries the same id, and
either ``ok`` or ``error``. Exits of the owners that a client follows arrive as
``{"exited": {...}}``, at any time. File descriptors travel beside a datagram (SCM_RIGHTS);
the text says only what they are for, in their order. ``wire`` turns these values into bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar

MAX_DATAGRAM_BYTES = 200_000  # below the default socket buffer (212,992), overhead included
MAX_DESCRIPTORS = 253  # SCM_MAX_FD of the kernel
LIST_PAGE = 200  # processes in one reply: 200 of 600 bytes fit a datagram


class Failure(StrEnum):
    """Why an init did not do what it was asked."""

    BAD_REQUEST = "bad_request"
    EXISTS = "exists"
    NOT_FOUND = "not_found"
    SYSTEM = "system"  # a system call failed: stage and errno say which and why


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """One bind mount: ``source`` of the host appears at ``target``.

    A target that does not exist is made in a private mirror of its nearest existing parent, so
    that nothing is created on the host.
    """

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who the process is.

    ``nested`` makes a user namespace in which the init's own uid appears as ``uid``: the only
    way to be somebody else in a rootless mesh, and harmless for programs that drop root.
    Otherwise the process changes to ``uid``, ``gid`` and ``groups`` as root does.
    """

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    nested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawn:
    """Start a process, the leader of a new session and process group.

    ``key`` is the client's name for it, unique in this init until its exit is acknowledged.
    ``owner`` says whose exits it is among. ``descriptors`` gives the number that each passed
    file descriptor gets; 0 is /dev/null where none is passed, 1 and 2 are ``log`` (appended,
    made with mode 0600) or else /dev/null. ``terminal``: 0 becomes the controlling terminal.
    When the leader ends, what is left of its process group is killed.
    """

    name: ClassVar[str] = "spawn"
    key: str
    owner: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    log: str | None = None
    descriptors: tuple[int, ...] = ()
    terminal: bool = False
    sandbox: str | None = None  # its network namespace; None: the init's own
    hostname: str | None = None
    binds: tuple[Bind, ...] = ()
    credentials: Credentials | None = None  # None: as the init


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Send a signal to the process group of a running process (or to its leader only)."""

    name: ClassVar[str] = "signal"
    key: str
    number: int
    leader_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Follow:
    """From now on, tell this client of every exit of ``owner``."""

    name: ClassVar[str] = "follow"
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge:
    """Forget a process that has ended; its key may be used again."""

    name: ClassVar[str] = "acknowledge"
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListProcesses:
    """List processes by key, a page at a time, those after ``after``."""

    name: ClassVar[str] = "processes"
    owner: str | None = None
    after: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSandbox:
    """Make a network namespace with loopback up; the reply carries its descriptor."""

    name: ClassVar[str] = "create_sandbox"
    key: str
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSandbox:
    """Hand out the descriptor of a sandbox."""

    name: ClassVar[str] = "open_sandbox"
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteSandbox:
    """Kill every process in a sandbox, then forget it and what is kept under its key."""

    name: ClassVar[str] = "delete_sandbox"
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSandboxes:
    """List the keys of all sandboxes."""

    name: ClassVar[str] = "sandboxes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """Keep the passed descriptors under ``key``; ``names`` are theirs, in order."""

    name: ClassVar[str] = "keep"
    key: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Hand out copies of what is kept under ``key``."""

    name: ClassVar[str] = "fetch"
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """Close what is kept under ``key``."""

    name: ClassVar[str] = "drop"
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenNetwork:
    """Hand out the descriptor of the init's own network namespace."""

    name: ClassVar[str] = "open_network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shutdown:
    """End the init, and with it every process of its namespaces, at once."""

    name: ClassVar[str] = "shutdown"


Operation = (
    Spawn
    | Signal
    | Follow
    | Acknowledge
    | ListProcesses
    | CreateSandbox
    | OpenSandbox
    | DeleteSandbox
    | ListSandboxes
    | Keep
    | Fetch
    | Drop
    | OpenNetwork
    | Shutdown
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An operation, with the number under which its reply comes."""

    id: int
    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a process ended: by ``code``, or by ``signal`` (then ``code`` is 128 + signal)."""

    key: str
    owner: str
    pid: int
    code: int
    signal: int | None
    started_at: float  # seconds since the epoch
    finished_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessState:
    """A process that an init knows: running, or ended and not yet acknowledged."""

    key: str
    owner: str
    pid: int  # in the init's process namespace
    sandbox: str | None
    started_at: float  # seconds since the epoch
    exit: Exit | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The reply to a request that was done; ``facts`` depend on the operation."""

    id: int
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The reply to a request that was not done."""

    id: int
    failure: Failure
    text: str
    stage: str = ""  # of Failure.SYSTEM: "exec", "cwd", "log", "mount", "credentials", ...
    errno: int = 0


Message = Request | Done | Refused | Exit
OPERATIONS: Mapping[str, type[Operation]] = {kind.name: kind for kind in Operation.__args__}
