"""What an init does for its clients, one function for each operation that answers at once."""

import fcntl
import os
import signal
from collections.abc import Container, Mapping, Sequence

from ambimesh.local.init.child import Failed
from ambimesh.local.init.processes import Process, Processes, signal_group, signal_one
from ambimesh.local.init.protocol import (
    LIST_PAGE,
    Acknowledge,
    CreateSandbox,
    Drop,
    Failure,
    Fetch,
    Keep,
    ListProcesses,
    ListSandboxes,
    OpenNetwork,
    OpenSandbox,
    Operation,
    ProcessState,
    Signal,
    Spawn,
)
from ambimesh.local.init.sandboxes import KeptDescriptors, Sandboxes

Facts = Mapping[str, object]
Descriptors = Sequence[int]


class RefusedError(Exception):
    """An operation is not done; ``failed`` has the details of a failed system call."""

    def __init__(self, failure: Failure, text: str, failed: Failed | None = None) -> None:
        super().__init__(text)
        self.failure = failure
        self.failed = failed


class Operations:
    """The state of an init, and what can be done with it."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._sandboxes = Sandboxes()
        self._kept = KeptDescriptors()

    def spawn(self, spawn: Spawn, descriptors: Descriptors, *, dying: Container[str]) -> Process:
        """Fork the child of ``spawn``. Errors: ``RefusedError``."""
        if len(descriptors) != len(spawn.descriptors):
            text = f"{len(descriptors)} descriptors came for {len(spawn.descriptors)} numbers"
            raise RefusedError(Failure.BAD_REQUEST, text)
        if any(not 0 <= target < _most_descriptors() for target in spawn.descriptors):
            raise RefusedError(Failure.BAD_REQUEST, "a descriptor's number is out of range")
        if self._processes.get(spawn.key) is not None:
            raise RefusedError(Failure.EXISTS, f"process {spawn.key} exists")
        sandbox = None
        if spawn.sandbox is not None:
            sandbox = self._sandbox(spawn.sandbox)
            if spawn.sandbox in dying:
                raise RefusedError(Failure.NOT_FOUND, f"sandbox {spawn.sandbox} is being deleted")
        try:
            return self._processes.start(spawn, descriptors, sandbox)
        except OSError as error:
            raise _system("fork", error) from error

    def do(self, operation: Operation, descriptors: Descriptors) -> tuple[Facts, Descriptors]:
        """Do ``operation``; give its facts and the descriptors to hand out.

        Errors: ``RefusedError``.
        """
        match operation:
            case Signal():
                self._signal(operation)
            case Acknowledge(key=key):
                self._acknowledge(key)
            case Keep():
                self._keep(operation, descriptors)
            case Drop(key=key):
                self._kept.drop(key)
            case _:
                return self._give(operation)
        return {}, ()

    def _give(self, operation: Operation) -> tuple[Facts, Descriptors]:
        """Do the operations that give something back."""
        facts: Facts = {}
        given: Descriptors = ()
        match operation:
            case ListProcesses():
                facts = self._list(operation)
            case ListSandboxes():
                facts = {"keys": self._sandboxes.keys()}
            case CreateSandbox():
                given = (self._create_sandbox(operation),)
            case OpenSandbox(key=key):
                given = (self._sandbox(key),)
            case OpenNetwork():
                given = (self._sandboxes.home,)
            case Fetch(key=key):
                held = self._kept.fetch(key)
                facts, given = {"names": tuple(held)}, tuple(held.values())
            case _:
                raise RefusedError(Failure.BAD_REQUEST, f"{operation.name} is not answered at once")
        return facts, given

    def kill_inhabitants(self, sandbox: str) -> bool:
        """Kill what is in ``sandbox``; once nothing is left forget it, and say ``True``."""
        if self._sandboxes.get(sandbox) is None:
            return True
        found = {*self._sandboxes.inhabitants(sandbox), *self._processes.running_in(sandbox)}
        for pid in found:
            signal_one(pid, signal.SIGKILL)
        if found:
            return False
        self._sandboxes.forget(sandbox)
        self._kept.drop(sandbox)
        return True

    def _sandbox(self, key: str) -> int:
        descriptor = self._sandboxes.get(key)
        if descriptor is None:
            raise RefusedError(Failure.NOT_FOUND, f"no sandbox {key}")
        return descriptor

    def _create_sandbox(self, operation: CreateSandbox) -> int:
        if self._sandboxes.get(operation.key) is not None:
            raise RefusedError(Failure.EXISTS, f"sandbox {operation.key} exists")
        try:
            return self._sandboxes.create(operation.key, operation.sysctls)
        except OSError as error:
            raise _system("sandbox", error) from error

    def _signal(self, operation: Signal) -> None:
        process = self._processes.get(operation.key)
        if process is None or not process.is_running:
            raise RefusedError(Failure.NOT_FOUND, f"process {operation.key} does not run")
        if operation.number not in signal.valid_signals():
            raise RefusedError(Failure.BAD_REQUEST, f"no signal {operation.number}")
        send = signal_one if operation.leader_only else signal_group
        send(process.pid, operation.number)

    def _acknowledge(self, key: str) -> None:
        process = self._processes.get(key)
        if process is not None and process.is_running:
            raise RefusedError(Failure.EXISTS, f"process {key} runs")
        self._processes.forget(key)

    def _list(self, operation: ListProcesses) -> Facts:
        found: list[ProcessState] = [
            process.state()
            for process in self._processes.sorted()
            if process.spawn.key > operation.after
            and operation.owner in (None, process.spawn.owner)
        ]
        return {"processes": found[:LIST_PAGE], "more": len(found) > LIST_PAGE}

    def _keep(self, operation: Keep, descriptors: Descriptors) -> None:
        if len(set(operation.names)) != len(descriptors):
            raise RefusedError(Failure.BAD_REQUEST, "each descriptor needs a name of its own")
        copies = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in descriptors]
        self._kept.keep(operation.key, operation.names, copies)


def _most_descriptors() -> int:
    return min(os.sysconf("SC_OPEN_MAX"), 1024)


def _system(stage: str, error: OSError) -> RefusedError:
    text = f"{stage}: {error.strerror}"
    return RefusedError(Failure.SYSTEM, text, Failed(stage, error.errno or 0, text))
