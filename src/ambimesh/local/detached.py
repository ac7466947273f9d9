"""A mesh in the background: the process that asked hears how the start goes, then leaves.

The mesh writes one JSON object a line into an inherited pipe: ``{"progress": text}`` any number
of times, then ``{"ready": true}``, or ``{"failed": text, "code": exit code}``. The end of the
pipe without either means that it was killed.
"""

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError, MeshError
from ambimesh.local.home import Home
from ambimesh.local.log_tail import cause_of_end
from ambimesh.local.progress import Report

LOG = "supervisor"
_READ_BYTES = 65536
_END_SECONDS = 15.0


class StartWriter:
    """The mesh's end of the pipe. A reader that has gone away is no reason to stop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def progress(self, text: str) -> None:
        """Tell what is being done."""
        self._write({"progress": text})

    def ready(self) -> None:
        """Tell that the mesh is ready."""
        self._write({"ready": True})
        self._close()

    def failed(self, error: MeshError) -> None:
        """Tell why there is no mesh."""
        self._write({"failed": error.problem.render(), "code": error.exit_code})
        self._close()

    def _write(self, line: dict[str, object]) -> None:
        if self._descriptor >= 0:
            with suppress(BrokenPipeError):
                os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@dataclass(frozen=True, slots=True)
class StartFailure:
    """The words and the exit code of a start that failed, as the mesh gave them."""

    text: str
    code: int


def start_detached(
    command: Sequence[str], home: Home, *, seconds: float, report: Report
) -> StartFailure | None:
    """Run ``command`` in the background until it says that its mesh is ready.

    ``command`` is given the descriptor of the pipe as its last argument. Returns ``None`` when
    the mesh is ready. Blocking: up to ``seconds``; then the start is ended.
    Errors: ``EnvironmentFaultError`` AMB0406 when it takes too long or is killed.
    """
    log = home.log_file(LOG)
    reading, writing = os.pipe()
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, str(writing)],
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    os.close(writing)
    try:
        for line in _lines(reading, time.monotonic() + seconds):
            if "progress" in line:
                report(str(line["progress"]))
            elif "failed" in line:
                process.wait()
                return StartFailure(str(line["failed"]), int(str(line["code"])))
            else:
                process.returncode = 0  # it is on its own now; nobody is to wait for it
                return None
        cause = cause_of_end(log)
        _end(process)
        problem = catalogue.MESH_NOT_STARTED.problem(cause=cause, seconds=f"{seconds:g}", log=log)
        raise EnvironmentFaultError(problem)
    except KeyboardInterrupt:
        _end(process)
        raise
    finally:
        os.close(reading)


def _lines(descriptor: int, deadline: float) -> Iterator[dict[str, object]]:
    """Give what arrives until the deadline, or the end."""
    held = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            return
        data = os.read(descriptor, _READ_BYTES)
        if not data:
            return
        *whole, held = (held + data).split(b"\n")
        for line in whole:
            yield json.loads(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
