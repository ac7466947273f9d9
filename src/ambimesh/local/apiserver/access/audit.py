"""One line for each write: who changed what, when, with which outcome."""

import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from ambimesh.local.apiserver.store.entry import encode

ROTATE_BYTES = 16 << 20  # then the file becomes NAME.1, and the old NAME.1 goes


class AuditLog:
    """Appends JSON lines to a file of the home directory.

    Errors: a line that cannot be written (full disk) is reported on standard error, once until
    writing works again; the request itself has its own answer from the store.
    """

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._clock = clock
        self._is_broken = False

    def record(self, **facts: object) -> None:
        """Append one line; empty facts are left out."""
        present = {name: value for name, value in facts.items() if value not in ("", None)}
        line = encode({"time": self._clock().isoformat(timespec="milliseconds"), **present})
        try:
            self._append(line + b"\n")
            self._is_broken = False
        except OSError as error:
            if not self._is_broken:
                print(f"audit log {self._path}: {error}", file=sys.stderr)  # noqa: T201 - no logger here
            self._is_broken = True

    def _append(self, line: bytes) -> None:
        # Opened each time: a write is far dearer, and nothing is lost when the file is moved away.
        with self._path.open("ab", buffering=0) as file:
            file.write(line)
            size = file.tell()
        if size > ROTATE_BYTES:
            self._path.replace(self._path.with_suffix(self._path.suffix + ".1"))
