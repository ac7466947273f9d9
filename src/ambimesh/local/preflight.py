"""What must be so before a mesh can start; each fault is one error that says what to do."""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError, Problem, UsageError
from ambimesh.local.home import Home, write_fault
from ambimesh.local.mesh_file import read_mesh_file

_BACKLOG = 1024
_SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def component_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the environment of the mesh's parts: ours, with the folders of system programs.

    Ordinary users of Debian have no /usr/sbin on their PATH, which is where nft is. Parts run
    in the root directory, so what PYTHONPATH names relative to ours is made absolute.
    """
    folders = environment.get("PATH", os.defpath).split(":")
    missing = [folder for folder in _SYSTEM_FOLDERS if folder not in folders]
    changed = {"PATH": ":".join([*folders, *missing]), "PYTHONUNBUFFERED": "1"}
    if places := environment.get("PYTHONPATH"):
        changed["PYTHONPATH"] = ":".join(str(Path(place).absolute()) for place in places.split(":"))
    return {**environment, **changed}


def check_programs(environment: Mapping[str, str]) -> None:
    """Check that nft is installed. Errors: ``EnvironmentFaultError`` AMB0101."""
    if shutil.which("nft", path=environment["PATH"]) is None:
        cause = f"there is no nft in {environment['PATH']}"
        raise EnvironmentFaultError(catalogue.NFT_MISSING.problem(cause=cause))


def listen(port: int) -> socket.socket:
    """Take the API's port of 127.0.0.1 (0: any). Errors: ``EnvironmentFaultError`` AMB0105."""
    # With the protocol named: asyncio leaves Nagle's delay on where it reads 0, 45 ms a request.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        problem = catalogue.PORT_IN_USE.problem(cause=error.strerror or "", port=port)
        raise EnvironmentFaultError(problem) from error
    return listener


@contextmanager
def locked(home: Home) -> Iterator[None]:
    """Hold the home as the only supervisor of it; the kernel gives it back if we die.

    Errors: ``UsageError`` AMB0402 when another has it; ``EnvironmentFaultError`` AMB0104.
    """
    try:
        descriptor = os.open(home.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise write_fault(home, error) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(_runs_already(home)) from error
        yield
    finally:
        os.close(descriptor)


def _runs_already(home: Home) -> Problem:
    found = read_mesh_file(home)
    cause = f"its supervisor has pid {found.supervisor.pid}" if found else ""
    return catalogue.MESH_RUNS_ALREADY.problem(cause=cause, home=home.root)
