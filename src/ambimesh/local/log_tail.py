"""The end of a log file, and lines that a program has yet to write into it."""

import asyncio
import os
from pathlib import Path

_TAIL_BYTES = 8192
_CAUSE_LINES = 5
_PACE_SECONDS = 0.02


def last_lines(path: Path, count: int) -> str:
    """Give the last ``count`` lines that are not empty; nothing when there is no such file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join([line for line in lines if line.strip()][-count:])


def cause_of_end(path: Path) -> str:
    """Give the one line of a log that says best why its program ended.

    That is the error it told a person, else the last line (of a traceback: the exception).
    """
    lines = last_lines(path, _CAUSE_LINES).splitlines()
    told = [line for line in lines if line.startswith("error[")]
    return (told or lines or [""])[-1].strip()


def size_of(path: Path) -> int:
    """Give the size of a log, 0 when there is none yet."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


async def wait_line(path: Path, prefix: bytes, *, after: int) -> None:
    """Wait until a line that starts with ``prefix`` stands in the file beyond ``after`` bytes."""
    while not _has_line(path, prefix, after):  # noqa: ASYNC110  # another process writes it
        await asyncio.sleep(_PACE_SECONDS)


def _has_line(path: Path, prefix: bytes, after: int) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(after)
            return any(line.startswith(prefix) and line.endswith(b"\n") for line in file)
    except OSError:
        return False
