"""The processes that an init started: running, or ended and not yet acknowledged."""

import os
import resource
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ambimesh.local.init.child import Failed, Start, become
from ambimesh.local.init.protocol import Exit, ProcessState, Spawn

_FAILURE_BYTES = 4096  # PIPE_BUF: written and read in one piece


@dataclass(slots=True)
class Process:
    """One child, until its exit is acknowledged."""

    spawn: Spawn
    pid: int
    started_at: float
    report: int | None  # read end of the pipe, until the program runs
    failed: Failed | None = None  # why it never ran
    exit: Exit | None = None

    @property
    def is_running(self) -> bool:
        """Whether it has not been reaped, so that its pid is its own."""
        return self.exit is None

    def state(self) -> ProcessState:
        """Give what clients see."""
        return ProcessState(
            key=self.spawn.key,
            owner=self.spawn.owner,
            pid=self.pid,
            sandbox=self.spawn.sandbox,
            started_at=self.started_at,
            exit=self.exit,
        )


class Processes:
    """All of them, by key."""

    def __init__(self, files: tuple[int, int]) -> None:
        """``files``: the limit of open files (soft, hard) that programs are given."""
        self._files = files
        self._by_key: dict[str, Process] = {}
        self._by_pid: dict[int, Process] = {}

    def get(self, key: str) -> Process | None:
        """Find one by key."""
        return self._by_key.get(key)

    def sorted(self) -> Sequence[Process]:
        """List all, by key."""
        return [self._by_key[key] for key in sorted(self._by_key)]

    def running_in(self, sandbox: str) -> Iterator[int]:
        """Give the pids of those started in ``sandbox`` that run."""
        for process in self._by_key.values():
            if process.spawn.sandbox == sandbox and process.is_running:
                yield process.pid

    def start(self, spawn: Spawn, descriptors: Sequence[int], sandbox: int | None) -> Process:
        """Fork the child of ``spawn``; its key must be free. Errors: ``OSError``.

        The program may still fail to start: read ``report`` when it is readable.
        """
        report, child_end = os.pipe()
        try:
            pid = os.fork()
            if pid == 0:
                become(
                    Start(
                        spawn=spawn,
                        descriptors=descriptors,
                        sandbox=sandbox,
                        report=child_end,
                        files=self._files,
                    )
                )
        except OSError:
            os.close(report)
            raise
        finally:
            os.close(child_end)
        process = Process(spawn=spawn, pid=pid, started_at=time.time(), report=report)
        self._by_key[spawn.key] = process
        self._by_pid[pid] = process
        return process

    def settle(self, process: Process) -> None:
        """Read the pipe of a child: empty means that its program runs."""
        assert process.report is not None
        data = os.read(process.report, _FAILURE_BYTES)
        os.close(process.report)
        process.report = None
        if data:
            process.failed = Failed.decode(data)
            self._by_key.pop(process.spawn.key, None)

    def reap(self) -> Iterator[Process]:
        """Collect every ended child; yield those of ours whose program had run.

        Orphans that were handed to us as the first process are collected and forgotten. A
        process whose pipe has not been read yet is settled first: its exec and its exit can
        arrive together.
        """
        while (ended := _next_ended()) is not None:
            process = self._by_pid.pop(ended, None)
            if process is not None:
                # The leader is still a zombie, so its number cannot be anybody else's group.
                signal_group(ended, signal.SIGKILL)
            _, status = os.waitpid(ended, 0)
            if process is None:
                continue
            process.exit = _exit_of(process, os.waitstatus_to_exitcode(status))
            if process.report is not None:
                self.settle(process)
            if process.failed is None:
                yield process

    def forget(self, key: str) -> None:
        """Drop an ended process."""
        self._by_key.pop(key, None)


def signal_group(leader: int, number: int) -> None:
    """Signal the process group of ``leader``, or nobody when it has none left."""
    try:
        os.killpg(leader, number)
    except (ProcessLookupError, PermissionError):
        # Between fork and setsid there is no such group yet.
        signal_one(leader, number)


def signal_one(pid: int, number: int) -> None:
    """Signal one process, or nobody when it is gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def raise_file_limit() -> tuple[int, int]:
    """Let this process have as many descriptors as it may; give the limit that was."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft, hard


def _next_ended() -> int | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return found.si_pid if found is not None else None


def _exit_of(process: Process, code: int) -> Exit:
    number = -code if code < 0 else None
    return Exit(
        key=process.spawn.key,
        owner=process.spawn.owner,
        pid=process.pid,
        code=128 + number if number is not None else code,
        signal=number,
        started_at=process.started_at,
        finished_at=time.time(),
    )
