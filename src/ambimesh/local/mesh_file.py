"""mesh.json: what runs in a home directory, for every other command."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from ambimesh.local.home import Home, write_fault
from ambimesh.local.keeper import Status
from ambimesh.node.private_file import write_private

VERSION = 1
_START_FIELD = 19  # of /proc/PID/stat after the name: starttime, in ticks since boot

MeshState = Literal["starting", "ready", "stopping"]


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process for good: a pid may be used again, but not with the same start."""

    pid: int
    start: int  # ticks since boot

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Give the identity of a running process; a zombie has ended."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
        except OSError:
            return None
        state, *fields = stat.rpartition(")")[2].split()  # the name may hold anything
        return None if state in "ZX" else cls(pid, int(fields[_START_FIELD - 1]))

    @property
    def is_running(self) -> bool:
        """Whether the very same process runs."""
        return ProcessIdentity.of(self.pid) == self


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshFile:
    """The content of mesh.json; ``version`` changes when its shape does."""

    state: MeshState
    supervisor: ProcessIdentity
    first: ProcessIdentity | None = None  # the fabric's init: when it has ended, all have
    rootless: bool = False
    api_port: int = 0
    nodes: tuple[str, ...] = ()
    components: tuple[Status, ...] = field(default=())
    version: int = VERSION

    @property
    def is_running(self) -> bool:
        """Whether the mesh that wrote it runs."""
        return self.supervisor.is_running

    @property
    def is_ready(self) -> bool:
        """Whether the mesh and every part of it is ready."""
        return self.state == "ready" and all(part.state == "ready" for part in self.components)

    def shape(self) -> Mapping[str, Any]:
        """Give it as JSON has it."""
        return asdict(self)

    def write(self, home: Home) -> None:
        """Write it. Errors: ``OSError``."""
        write_private(home.mesh_file, json.dumps(self.shape(), indent=1).encode())


def read_mesh_file(home: Home) -> MeshFile | None:
    """Read what a mesh wrote, running or not; ``None`` when no mesh has, or one of another shape.

    Errors: ``EnvironmentFaultError`` AMB0104 when the home is somebody else's.
    """
    try:
        return _parse(json.loads(home.mesh_file.read_bytes()))
    except PermissionError as error:
        raise write_fault(home, error) from error
    except (OSError, ValueError, KeyError, TypeError):
        return None


def running_mesh(home: Home) -> MeshFile | None:
    """Read what the running mesh wrote; ``None`` when none runs in this home."""
    found = read_mesh_file(home)
    return found if found is not None and found.is_running else None


def remove_leftovers(home: Home) -> None:
    """Remove what says that a mesh runs. Call it only when none does."""
    home.mesh_file.unlink(missing_ok=True)
    if home.run.is_dir():
        for path in home.run.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _parse(shape: Mapping[str, Any]) -> MeshFile | None:
    if shape["version"] != VERSION:
        return None
    first: Mapping[str, int] | None = shape["first"]
    components: Sequence[Mapping[str, Any]] = shape["components"]
    return MeshFile(
        state=shape["state"],
        supervisor=ProcessIdentity(**shape["supervisor"]),
        first=None if first is None else ProcessIdentity(**first),
        rootless=shape["rootless"],
        api_port=shape["api_port"],
        nodes=tuple(shape["nodes"]),
        components=tuple(Status(**part) for part in components),
    )
