"""The home directory, mesh.json, logs and the words of status."""

import errno
import os
import stat
from pathlib import Path

import pytest

from ambimesh.cli.status import render
from ambimesh.diagnostics.problem import EnvironmentFaultError, UsageError
from ambimesh.local import home as homes
from ambimesh.local import preflight
from ambimesh.local.components import standard_plan
from ambimesh.local.home import Home
from ambimesh.local.keeper import Status
from ambimesh.local.log_tail import cause_of_end, last_lines, wait_line
from ambimesh.local.mesh_file import (
    MeshFile,
    ProcessIdentity,
    read_mesh_file,
    remove_leftovers,
    running_mesh,
)
from ambimesh.node.private_file import write_private


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """Give a home that exists."""
    made = Home(tmp_path / "home")
    made.create()
    return made


def mesh(**change: object) -> MeshFile:
    """Give what this process would write as a supervisor."""
    own = ProcessIdentity.of(os.getpid())
    assert own
    parts = (Status(name="apiserver", place="fabric", state="ready", since=100.0),)
    shape = {"state": "ready", "supervisor": own, "nodes": ("node-1",), "components": parts}
    return MeshFile(**{**shape, **change})  # type: ignore[arg-type]  # fields of MeshFile


def test_home_and_its_files_are_their_owners_only(home: Home) -> None:
    """Directories have mode 0700 and files 0600, also where they were open before."""
    home.root.chmod(0o755)
    home.create()
    write_private(home.kubeconfig, b"secret")

    for folder in (home.root, home.api, home.credentials, home.run, home.log, home.pods):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.kubeconfig.stat().st_mode) == 0o600


def test_failed_write_leaves_the_old_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full in the middle of a write loses nothing and leaves no part behind."""

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_private(home.mesh_file, b"old")
    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(OSError, match="No space"):
        write_private(home.mesh_file, b"new")

    assert home.mesh_file.read_bytes() == b"old"
    assert not [path for path in home.root.iterdir() if path.name.startswith(".")]


def test_default_home_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment wins; root has a place of the system, others one of their own."""
    monkeypatch.delenv("AMBIMESH_HOME", raising=False)
    monkeypatch.setenv("HOME", "/srv/ada")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert homes.default_home() == Path("/var/lib/ambimesh")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert homes.default_home() == Path("/srv/ada/.local/state/ambimesh")
    monkeypatch.setenv("AMBIMESH_HOME", "/tmp/mesh")
    assert homes.default_home() == Path("/tmp/mesh")


def test_mesh_file_is_read_back(home: Home) -> None:
    """Other commands see exactly what the supervisor wrote."""
    written = mesh(api_port=6443, first=ProcessIdentity(1, 2), rootless=True)

    written.write(home)

    assert read_mesh_file(home) == written == running_mesh(home)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2}', '{"version": 1}', "nonsense"])
def test_mesh_file_of_another_shape_is_no_mesh(home: Home, text: str) -> None:
    """A file that cannot be understood is not taken for a running mesh."""
    home.mesh_file.write_text(text)

    assert read_mesh_file(home) is None


def test_mesh_whose_supervisor_has_ended_does_not_run(home: Home) -> None:
    """A pid that belongs to somebody else by now is not the supervisor."""
    mesh(supervisor=ProcessIdentity(os.getpid(), 1)).write(home)

    assert read_mesh_file(home) is not None
    assert running_mesh(home) is None


def test_leftovers_are_removed_and_the_rest_stays(home: Home) -> None:
    """Sockets and mesh.json go; state, credentials and logs stay."""
    mesh().write(home)
    (home.run / "node-1.init").touch()
    (home.run / "node-1.proxy").mkdir()
    (home.run / "node-1.proxy" / "socket").touch()
    home.kubeconfig.touch()

    remove_leftovers(home)

    assert list(home.run.iterdir()) == []
    assert not home.mesh_file.exists()
    assert home.kubeconfig.exists()


def test_locked_home_refuses_another(home: Home) -> None:
    """Two supervisors cannot have one home; afterwards it is free again."""
    with preflight.locked(home), pytest.raises(UsageError) as refused, preflight.locked(home):
        pass
    assert refused.value.problem.code == "AMB0402"

    with preflight.locked(home):
        pass


def test_environment_of_parts_finds_system_programs(tmp_path: Path) -> None:
    """Nft is found without /usr/sbin on the user's PATH; relative places become absolute."""
    given = {"PATH": "/usr/bin", "PYTHONPATH": "src", "LANG": "C"}

    made = preflight.component_environment(given)

    assert made["PATH"].split(":") == ["/usr/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"]
    assert Path(made["PYTHONPATH"]).is_absolute()
    assert made["LANG"] == "C"
    with pytest.raises(EnvironmentFaultError):
        preflight.check_programs({"PATH": str(tmp_path)})


def test_standard_plan_names_every_part_once_and_starts_the_api_first(home: Home) -> None:
    """The table has the API, the control plane and an agent for each node, in this order."""
    plan = standard_plan(home, ["node-1", "node-2"])

    assert [part.name for part in plan.all] == ["apiserver", "controlplane", "node-1", "node-2"]
    assert [part.place for part in plan.all] == ["fabric", "fabric", "node-1", "node-2"]
    assert [part.takes_listener for part in plan.all] == [True, False, False, False]
    assert str(home.root) in plan.api.argv


def test_cause_is_the_error_told_to_a_person_else_the_last_line(tmp_path: Path) -> None:
    """Of an error in three lines the first counts, of a traceback the last."""
    log = tmp_path / "log"
    assert cause_of_end(log) == ""
    log.write_text("READY\nerror[AMB0302]: no port\n  cause: in use\n  hint: x\n")
    assert cause_of_end(log) == "error[AMB0302]: no port"
    log.write_text("Traceback:\n  line\nKeyError: 'x'\n\n")
    assert cause_of_end(log) == "KeyError: 'x'"
    assert last_lines(log, 2) == "  line\nKeyError: 'x'"


async def test_ready_line_of_an_earlier_life_does_not_count(tmp_path: Path) -> None:
    """Only what is written from now on, and whole lines of it, say that a part is ready."""
    log = tmp_path / "log"
    log.write_text("READY\n")

    await wait_line(log, b"READY", after=0)
    with log.open("a") as file:
        file.write("not READY\nREADY now\n")
    await wait_line(log, b"READY now", after=6)


def test_status_shows_mesh_and_parts() -> None:
    """One line for the mesh, then a table whose columns line up."""
    parts = (
        Status(name="apiserver", place="fabric", state="ready", since=100.0),
        Status(
            name="node-1",
            place="node-1",
            state="restarting",
            restarts=3,
            since=4000.0,
            last_exit="signal 9",
        ),
    )
    shown = mesh(api_port=6443, components=parts, supervisor=ProcessIdentity(7, 1))

    assert render(shown, now=7700.0).splitlines() == [
        "mesh ready: 1 nodes, API at https://127.0.0.1:6443, root's, supervisor pid 7",
        "",
        "PART        PLACE    STATE        RESTARTS   SINCE   LAST EXIT",
        "apiserver   fabric   ready        0          2h      -",
        "node-1      node-1   restarting   3          62m     signal 9",
    ]
    assert not shown.is_ready
