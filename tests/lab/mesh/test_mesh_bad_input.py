"""Bad input: one clear error each, with cause, hint and exit code, and nothing left half-made."""

import re
import shlex
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.running_mesh import RunningMesh

pytestmark = pytest.mark.lab

UNPARSABLE = "kind: [Pod\n name: x"
UNKNOWN_KIND = "apiVersion: v9\nkind: Gizmo\nmetadata: {name: x}"
WRONG_TYPE = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: made-before}
---
apiVersion: v1
kind: Service
metadata: {name: broken}
spec:
  ports:
  - port: http
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What a person typed, and what they are to be told."""

    command: str
    code: str
    exit_code: int
    told: tuple[str, ...]  # beside the code: the object, the place, what was expected
    manifest: str = ""  # of the file manifest.yaml


MISTAKES = {
    "unparsable yaml": Mistake(
        command="apply -f manifest.yaml", manifest=UNPARSABLE, code="AMB0201", exit_code=2,
        told=("manifest.yaml", "line 2")),
    "unknown kind": Mistake(
        command="apply -f manifest.yaml", manifest=UNKNOWN_KIND, code="AMB0204", exit_code=2,
        told=("manifest.yaml", "Gizmo", "v9")),
    "wrong type": Mistake(
        command="apply -n {namespace} -f manifest.yaml", manifest=WRONG_TYPE, code="AMB0211",
        exit_code=2, told=("manifest.yaml", "broken", "spec.ports[0].port", "integer")),
    "no such file": Mistake(
        command="apply -f missing.yaml", code="AMB0203", exit_code=2, told=("missing.yaml",)),
    "duplicate pod": Mistake(
        command="run -d -n {namespace} --name twin -- sleep infinity", code="AMB0364",
        exit_code=1, told=("{namespace}/twin",)),
    "command not found": Mistake(
        command="run -d -n {namespace} --name lost -- no-such-program", code="AMB0208",
        exit_code=2, told=("no-such-program", "PATH")),
    "no such pod": Mistake(
        command="exec -n {namespace} nobody -- true", code="AMB0363", exit_code=1,
        told=("{namespace}/nobody",)),
    "second mesh in one home": Mistake(
        command="up --detach --api-port 0", code="AMB0402", exit_code=2, told=("pid",)),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_gives_one_clear_error(
    mesh: RunningMesh, namespace: str, tmp_path: Path, name: str
) -> None:
    """Issue 3, 7: code, cause or place, hint and exit code; the mesh is as it was before."""
    mistake = MISTAKES[name]
    mesh.ambi("run", "-d", "-n", namespace, "--name", "twin", "--", "sleep", "infinity")
    (tmp_path / "manifest.yaml").write_text(mistake.manifest)
    before = _objects(mesh, namespace)
    arguments = [part.format(namespace=namespace) for part in shlex.split(mistake.command)]

    done = subprocess.run(
        mesh.ambi_command(*arguments), cwd=tmp_path, env=mesh.environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip

    assert done.returncode == mistake.exit_code, done.stderr
    _assert_one_error(done, mistake.code)
    assert all(part.format(namespace=namespace) in done.stderr for part in mistake.told)
    assert _objects(mesh, namespace) == before


def test_kubectl_names_file_object_path_and_type(
    mesh: RunningMesh, namespace: str, tmp_path: Path
) -> None:
    """Issue 3, 2: a wrong type in a manifest is refused so that the place can be found."""
    path = tmp_path / "manifest.yaml"
    path.write_text(WRONG_TYPE)

    said = mesh.kubectl("apply", "-n", namespace, "-f", str(path), expect=1)

    assert all(part in said for part in (str(path), "broken", "spec.ports[0].port", "integer"))


def _objects(mesh: RunningMesh, namespace: str) -> str:
    return mesh.kubectl("get", "pods,services,configmaps", "-n", namespace, "-o", "name")


# -- machines that cannot have a mesh ------------------------------------------------------

UP = "{ambi} up {detach} --home {home} --api-port {port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is wrong with a machine: a script with the command in it, and what is told."""

    script: str
    code: str
    told: tuple[str, ...]


MACHINES = {
    "port in use": Machine(script=UP, code="AMB0105", told=("{port}", "--api-port")),
    "nft missing": Machine(
        script="unshare -m sh -c 'mount --bind /dev/null $(readlink -f $(command -v nft)) && "
        f"exec {UP}'", code="AMB0101", told=("nft", "apt-get install nftables")),
    "no user namespaces": Machine(
        script="unshare -U -r sh -c 'echo 1 > /proc/sys/user/max_user_namespaces && "
        f"exec unshare -U --map-user=1000 {UP}'", code="AMB0102", told=("1000", "sysctl")),
    "home not writable": Machine(
        script=UP.replace("{home}", "/proc/mesh"), code="AMB0104", told=("/proc/mesh", "--home")),
    "full disk": Machine(
        script="unshare -m sh -c 'mkdir {home} && mount -t tmpfs -o size=16k tmpfs {home} && "
        "! head -c 1M /dev/zero > {home}/filling 2>/dev/null && "
        f"exec {UP}'", code="AMB0106", told=("{home}", "df -h")),
}  # fmt: skip


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port of 127.0.0.1 that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


@pytest.mark.parametrize("detach", ["", "--detach"])
@pytest.mark.parametrize("name", MACHINES)
def test_machine_that_cannot_have_a_mesh_says_why(
    mesh: RunningMesh, tmp_path: Path, taken_port: int, name: str, detach: str
) -> None:
    """Issue 3, 7: `ambi up` ends with one error, and leaves no process and no socket."""
    machine, home = MACHINES[name], tmp_path / "home"
    facts = {
        "ambi": shlex.join(mesh.ambi_command()), "home": str(home), "detach": detach,
        "port": str(taken_port if name == "port in use" else 0),
    }  # fmt: skip

    done = subprocess.run(
        ["sh", "-c", machine.script.format(**facts)], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip

    assert done.returncode == 1, done.stderr
    _assert_one_error(done, machine.code)
    assert all(part.format(**facts) in done.stderr for part in machine.told)
    assert str(home) not in _command_lines()
    assert not list(home.glob("run/*"))
    assert not (home / "mesh.json").exists()


def _assert_one_error(done: "subprocess.CompletedProcess[str]", code: str) -> None:
    """Check that a person reads one block of text, nothing on standard output, no traceback."""
    assert re.findall(r"^error\[(AMB\d{4})\]: ", done.stderr, re.MULTILINE) == [code], done.stderr
    assert done.stderr.count("  cause: ") == done.stderr.count("  hint: ") == 1
    assert "Traceback" not in done.stderr
    assert "error[" not in done.stdout


def _command_lines() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
