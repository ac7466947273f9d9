"""Ending a mesh from outside: gracefully, then hard, then what it left behind."""

import os
import select
import signal

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.local.home import Home
from ambimesh.local.mesh_file import MeshFile, ProcessIdentity, read_mesh_file, remove_leftovers
from ambimesh.local.preflight import locked
from ambimesh.local.progress import Report

_HARD_SECONDS = 10.0  # the kernel ends a machine in milliseconds; a loaded one takes longer
_REPORT_SECONDS = 2.0


def end_mesh(home: Home, *, grace_seconds: float, report: Report) -> bool:
    """End the mesh of ``home``; tell whether there was one. Nothing of it is left afterwards.

    Blocking: up to the grace period. Errors: ``EnvironmentFaultError`` AMB0407, AMB0104;
    ``UsageError`` AMB0402 when a mesh has the home and does not say who it is.
    """
    found = read_mesh_file(home)
    if found is not None:
        _end(found, home, grace_seconds, report)
    if home.root.is_dir():
        with locked(home):
            remove_leftovers(home)
    return found is not None


def _end(mesh: MeshFile, home: Home, grace_seconds: float, report: Report) -> None:
    if not _ended(mesh.supervisor, signal.SIGTERM, grace_seconds, home, report):
        report(f"it did not end within {grace_seconds:g} s: killing it")
    for process in (mesh.supervisor, mesh.first):  # the second dies with the first
        if process is None or _ended(process, signal.SIGKILL, _HARD_SECONDS, home, report):
            continue
        raise _not_stopped(process, home, "it was killed and still runs")


def _ended(
    process: ProcessIdentity, number: int, seconds: float, home: Home, report: Report
) -> bool:
    """Signal a process and wait for its end; ``True`` at once when it does not run."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        if not process.is_running:  # asked after the opening: the number is another's by now
            return True
        signal.pidfd_send_signal(descriptor, number)
        return _wait(descriptor, seconds, report)
    except ProcessLookupError:
        return True
    except PermissionError as error:
        raise _not_stopped(process, home, error.strerror or "") from error
    finally:
        os.close(descriptor)


def _wait(descriptor: int, seconds: float, report: Report) -> bool:
    waited = 0.0
    while waited < seconds:
        step = min(_REPORT_SECONDS, seconds - waited)
        if select.select([descriptor], [], [], step)[0]:
            return True
        waited += step
        report(f"waiting for its end ... {waited:.0f} s")
    return False


def _not_stopped(process: ProcessIdentity, home: Home, cause: str) -> EnvironmentFaultError:
    return EnvironmentFaultError(
        catalogue.MESH_NOT_STOPPED.problem(cause=cause, pid=process.pid, home=home.root)
    )
