"""Places to mount on where the host has none, without making anything on the host.

Runs in a process that has its own mount namespace. To mount at /run/secrets/token when /run has
no secrets, /run is covered with an empty file system in which everything that /run holds is
mounted again; there the missing directories can be made.
"""

import os
import stat
from pathlib import Path

from ambimesh.node import namespace

_O_PATH = 0x20_0000
_MIRROR_OPTIONS = "mode=0755,size=1m"  # holds only directories and empty files

_mirrors: set[int] = set()  # devices of the mirrors of this process, which execs soon


def ensure_target(source: str, target: str) -> None:
    """Make ``target`` exist for this mount namespace, as a file or directory like ``source``.

    Errors: ``OSError``, also where the only existing parent is the root.
    """
    place = Path(os.path.realpath(target))
    if place.exists():
        return
    parent = next(p for p in place.parents if p.exists())
    if parent.stat().st_dev not in _mirrors:
        if parent == Path("/"):
            raise FileNotFoundError(2, "no directory to mount in", target)
        _mirror(parent)
    if Path(source).is_dir():
        place.mkdir(parents=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _mirror(path: Path) -> None:
    """Cover ``path`` with a file system in which all it held appears again."""
    behind = os.open(path, _O_PATH | os.O_CLOEXEC)
    try:
        held = f"/proc/self/fd/{behind}"
        names = os.listdir(held)  # noqa: PTH208  # a magic link, not a path
        namespace.mount(
            "ambimesh",
            str(path),
            filesystem="tmpfs",
            flags=namespace.MS_NOSUID | namespace.MS_NODEV,
            options=_MIRROR_OPTIONS,
        )
        for name in names:
            _reflect(f"{held}/{name}", path / name)
    finally:
        os.close(behind)
    _mirrors.add(path.stat().st_dev)


def _reflect(source: str, place: Path) -> None:
    kind = os.lstat(source).st_mode  # below a magic link, not a path
    if stat.S_ISLNK(kind):
        place.symlink_to(os.readlink(source))  # noqa: PTH115  # as above
        return
    if stat.S_ISDIR(kind):
        place.mkdir()
    else:
        place.touch()
    namespace.mount(source, str(place), flags=namespace.MS_BIND | namespace.MS_REC)
