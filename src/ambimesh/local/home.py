"""The home directory of a mesh: every path in it, and who may read it (only its owner)."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.node.private_file import write_private

ENVIRONMENT = "AMBIMESH_HOME"
_ROOT_HOME = Path("/var/lib/ambimesh")
_USER_HOME = Path(".local/state/ambimesh")
_FOLDER_MODE = 0o700


def default_home() -> Path:
    """Give the home of whoever runs this: ``$AMBIMESH_HOME``, else root's or the user's."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named).absolute()
    return _ROOT_HOME if os.geteuid() == 0 else Path.home() / _USER_HOME


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below ``root``. Nothing is made before ``create``."""

    root: Path

    @property
    def mesh_file(self) -> Path:
        """What runs: pids, nodes, ports."""
        return self.root / "mesh.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the supervisor as long as it lives."""
        return self.root / "lock"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's access to the API."""
        return self.root / "kubeconfig"

    @property
    def api(self) -> Path:
        """State, certificates and keys of the embedded API."""
        return self.root / "api"

    @property
    def credentials(self) -> Path:
        """Kubeconfigs of the parts of the mesh."""
        return self.root / "credentials"

    @property
    def run(self) -> Path:
        """Sockets."""
        return self.root / "run"

    @property
    def log(self) -> Path:
        """Logs of the parts of the mesh."""
        return self.root / "log"

    @property
    def pods(self) -> Path:
        """Files and logs of pods: ``<namespace>/<name>/``."""
        return self.root / "pods"

    def init_socket(self, name: str) -> Path:
        """Where the init of a node (or "fabric") listens."""
        return self.run / f"{name}.init"

    def door_socket(self, node: str) -> Path:
        """Where a node agent takes ``ambi exec`` and its kind."""
        return self.run / f"{node}.door"

    def zds_socket(self, node: str) -> Path:
        """Where a node agent takes the node proxy."""
        return self.run / f"{node}.zds"

    def log_file(self, component: str) -> Path:
        """The log of one part of the mesh."""
        return self.log / f"{component}.log"

    def pod_folder(self, namespace: str, name: str) -> Path:
        """Files and logs of one pod."""
        return self.pods / namespace / name

    def credential(self, name: str) -> Path:
        """The kubeconfig of one part of the mesh."""
        return self.credentials / f"{name}.kubeconfig"

    def create(self) -> None:
        """Make the directories that are missing, for the owner only.

        Errors: ``EnvironmentFaultError`` when one cannot be made or written.
        """
        folders = (self.api, self.credentials, self.run, self.log, self.pods)
        try:
            self.root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            self.root.chmod(_FOLDER_MODE)
            for folder in folders:
                folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            write_private(self.root / ".writable", b"ambimesh")  # a full disk refuses this
            (self.root / ".writable").unlink()
        except OSError as error:
            raise write_fault(self, error) from error


def write_fault(home: Home, error: OSError) -> EnvironmentFaultError:
    """Give the error for a write into the home that failed: no space, or no right to."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        problem = catalogue.DISK_FULL.problem(cause=error.strerror or "", home=home.root)
    else:
        problem = catalogue.HOME_NOT_WRITABLE.problem(cause=error.strerror or "", home=home.root)
    return EnvironmentFaultError(problem)
