"""The child's side of a spawn: from fork to exec. Runs in a forked copy of the init.

Whatever fails is written to a pipe as ``Failed`` and ends the child; a program that starts
closes that pipe, which is how the init knows.
"""

import errno
import fcntl
import json
import os
import resource
import signal
import socket
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from ambimesh.local.init.mirror import ensure_target
from ambimesh.local.init.protocol import Credentials, Spawn
from ambimesh.node import namespace

NOT_STARTED = 127  # exit code of a child that never became its program
_LOG_MODE = 0o600
_LOG_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW


@dataclass(frozen=True, slots=True)
class Failed:
    """What went wrong before exec: the step, the kernel's number for it, and words."""

    stage: str
    number: int  # errno, 0 where there is none
    text: str

    def encode(self) -> bytes:
        """Give it as it travels through the pipe."""
        return json.dumps([self.stage, self.number, self.text]).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Failed":
        """Read what ``encode`` wrote."""
        stage, number, text = json.loads(data)
        return cls(str(stage), int(number), str(text))


class _StageError(Exception):
    """A step failed; carries what the parent is told."""

    def __init__(self, failed: Failed) -> None:
        super().__init__(failed.text)
        self.failed = failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """A spawn, and the descriptors it needs in the child."""

    spawn: Spawn
    descriptors: Sequence[int]
    sandbox: int | None  # network namespace to enter
    report: int  # write end of the pipe
    files: tuple[int, int]  # the limit of open files to give the program (soft, hard)


def become(start: Start) -> NoReturn:
    """Turn this forked child into the program; never returns."""
    report = start.report
    try:
        report = _move_up(start.report, start.spawn.descriptors)
        _prepare(start)
        _exec(start.spawn)
    except _StageError as error:
        os.write(report, error.failed.encode())
    except BaseException as error:  # noqa: BLE001  # a child must never run the init's own code
        os.write(report, Failed("start", 0, f"{type(error).__name__}: {error}").encode())
    finally:
        os._exit(NOT_STARTED)


def _prepare(start: Start) -> None:
    spawn = start.spawn
    with _stage("session"):
        os.setsid()
        _reset_signals()
        resource.setrlimit(resource.RLIMIT_NOFILE, start.files)
    _place_descriptors(spawn, start.descriptors)
    if start.sandbox is not None:
        with _stage("sandbox"):
            namespace.setns(start.sandbox, namespace.CLONE_NEWNET)
    if spawn.hostname is not None:
        with _stage("hostname"):
            namespace.unshare(namespace.CLONE_NEWUTS)
            socket.sethostname(spawn.hostname)
    if spawn.binds:
        _bind(spawn)
    if spawn.credentials is not None:
        with _stage("credentials"):
            _change_credentials(spawn.credentials)
    with _stage("cwd"):
        os.chdir(spawn.cwd)


def _exec(spawn: Spawn) -> NoReturn:
    if not spawn.argv:
        raise _StageError(Failed("exec", errno.ENOENT, "exec: no command"))
    with _stage("exec"):
        _exec_first(spawn.argv, dict(spawn.env))


def _exec_first(argv: tuple[str, ...], env: dict[str, str]) -> NoReturn:
    """Become the first program of that name on PATH.

    Directories that may not be searched are passed over, as shells do, so that a program that
    is nowhere is reported as not found; ``os.execvpe`` says "permission denied" then.
    """
    name = argv[0]
    folders = env.get("PATH", os.defpath).split(":")
    refusal: OSError = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
    for path in [name] if "/" in name else [f"{folder or '.'}/{name}" for folder in folders]:
        try:
            os.execve(path, argv, env)  # noqa: S606  # no shell is right
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            if os.path.exists(path):  # noqa: PTH110  # one of many, between fork and exec
                refusal = error
    raise refusal


def _place_descriptors(spawn: Spawn, given: Sequence[int]) -> None:
    """Give every descriptor its number. All others are closed by exec."""
    with _stage("descriptors"):
        lifted = [_move_up(fd, spawn.descriptors) for fd in given]
        for fd, target in zip(lifted, spawn.descriptors, strict=True):
            os.dup2(fd, target, inheritable=True)
        missing = {0, 1, 2} - set(spawn.descriptors)
    for target in sorted(missing):
        with _stage("log"):
            _open_standard(target, spawn.log)
    if spawn.terminal:
        with _stage("terminal"):
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _open_standard(target: int, log: str | None) -> None:
    if target and log is not None:
        opened = os.open(log, _LOG_FLAGS, _LOG_MODE)
    else:
        opened = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    os.dup2(opened, target, inheritable=True)
    if opened > 2:
        os.close(opened)


def _bind(spawn: Spawn) -> None:
    with _stage("mount"):
        namespace.unshare(namespace.CLONE_NEWNS)
    for bind in spawn.binds:
        with _stage("mount"):
            ensure_target(bind.source, bind.target)
            namespace.bind(bind.source, bind.target, read_only=bind.read_only)


def _change_credentials(credentials: Credentials) -> None:
    if credentials.nested:
        own_uid, own_gid = os.geteuid(), os.getegid()
        namespace.unshare(namespace.CLONE_NEWUSER)
        namespace.map_user(credentials.uid, own_uid, credentials.gid, own_gid)
        return
    os.setgroups(credentials.groups)
    os.setresgid(credentials.gid, credentials.gid, credentials.gid)
    os.setresuid(credentials.uid, credentials.uid, credentials.uid)


def _reset_signals() -> None:
    """Give the program the defaults: Python ignores SIGPIPE, the init ignores more."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if signal.getsignal(number) is not signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _move_up(descriptor: int, targets: Sequence[int]) -> int:
    """Copy a descriptor to a number that no target has, closed by exec."""
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, max((2, *targets)) + 1)


@contextmanager
def _stage(name: str) -> Iterator[None]:
    """Name the step that fails in this block."""
    try:
        yield
    except OSError as error:
        path = os.fsdecode(error.filename) if error.filename else ""
        text = f"{name}: {error.strerror}" + (f": {path}" if path else "")
        raise _StageError(Failed(name, error.errno or 0, text)) from error
    except ValueError as error:
        raise _StageError(Failed(name, 0, f"{name}: {error}")) from error
