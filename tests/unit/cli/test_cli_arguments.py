"""What commands read from their arguments."""

import os
from pathlib import Path

import pytest

from ambimesh.cli import run
from ambimesh.cli.door_client import find_pod
from ambimesh.cli.mesh_options import find_kubeconfig
from ambimesh.cli.metadata_change import read_pairs
from ambimesh.cli.port_forward import read_ports
from ambimesh.cli.run import pod_manifest, pod_name
from ambimesh.diagnostics.problem import UnreachableError, UsageError
from ambimesh.kube.documents import Document


@pytest.mark.parametrize(
    ("arguments", "names", "changes"),
    [
        (["web", "a=b"], ["web"], {"a": "b"}),
        (["web", "db", "a=b", "c-"], ["web", "db"], {"a": "b", "c": None}),
        (["web", "a="], ["web"], {"a": ""}),
        (["web", "a=b=c"], ["web"], {"a": "b=c"}),
        (["web", "x.io/a=b"], ["web"], {"x.io/a": "b"}),
        (["web", "a=b-"], ["web"], {"a": "b-"}),
    ],
)
def test_pairs(arguments: list[str], names: list[str], changes: dict[str, str | None]) -> None:
    """Names come first; then what is set and what is taken away."""
    assert read_pairs(arguments) == (names, changes)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["web"], "AMB0206"),
        ([], "AMB0206"),
        (["web", "=b"], "AMB0206"),
        (["web", "a=b", "x"], "AMB0206"),
        (["web", "-"], "AMB0206"),
        (["a=b"], "AMB0207"),
        (["a-"], "AMB0207"),
    ],
)
def test_malformed_pairs(arguments: list[str], code: str) -> None:
    """What is neither is named; a change of nothing too."""
    with pytest.raises(UsageError) as refused:
        read_pairs(arguments)
    assert refused.value.problem.code == code


@pytest.mark.parametrize(
    ("text", "ports"),
    [("8080", (8080, 8080)), ("1:2", (1, 2)), ("0:80", (0, 80)), ("65535:1", (65535, 1))],
)
def test_ports(text: str, ports: tuple[int, int]) -> None:
    """One number for both, or two; the local one may be chosen by the system."""
    assert read_ports(text) == ports


@pytest.mark.parametrize(
    "text",
    ["", ":", "80:", ":80", "x", "1:x", "1:2:3", "-1:2", "65536:1", "1:65536", "1:0", "0", "²"],
)
def test_malformed_ports(text: str) -> None:
    """What is no port is refused before a socket sees it."""
    with pytest.raises(UsageError) as refused:
        read_ports(text)
    assert refused.value.problem.code == "AMB0209"


def manifest(program: tuple[str, ...] = ("true",), **changes: object) -> Document:
    """Make a manifest with defaults."""
    shape: dict[str, object] = {
        "name": "web", "namespace": "demo", "service_account": "default", "node": "",
        "ports": (), "labels": {}, "variables": {}, "restart": "Never", **changes,
    }  # fmt: skip
    return pod_manifest(program, **shape)  # type: ignore[arg-type] # fields by name


def test_pod_runs_the_program_found_on_the_path() -> None:
    """With this directory, this PATH, and the variables asked for."""
    made = manifest(("true", "-x"), variables={"A": "1", "HOME": "/mine"})

    container = made["spec"]["containers"][0]
    variables = {entry["name"]: entry["value"] for entry in container["env"]}
    assert Path(container["command"][0]).is_absolute()
    assert container["command"][1:] == ["-x"]
    assert container["workingDir"] == str(Path.cwd())
    assert variables == {"PATH": os.environ["PATH"], "HOME": "/mine", "A": "1"}
    assert made["metadata"]["labels"] == {"app": "web"}
    assert "nodeName" not in made["spec"]
    assert "readinessProbe" not in container


def test_port_makes_the_pod_ready_when_it_is_open() -> None:
    """The first port is probed; labels and node are as asked for."""
    made = manifest(ports=(8080, 9090), labels={"app": "x", "v": "1"}, node="node-2")

    container = made["spec"]["containers"][0]
    assert container["ports"] == [{"containerPort": 8080}, {"containerPort": 9090}]
    assert container["readinessProbe"]["tcpSocket"] == {"port": 8080}
    assert made["metadata"]["labels"] == {"app": "x", "v": "1"}
    assert made["spec"]["nodeName"] == "node-2"


def test_program_that_does_not_exist_makes_no_pod() -> None:
    """The name and the PATH are in the message."""
    with pytest.raises(UsageError) as refused:
        manifest(("no-such-program",))
    assert refused.value.problem.code == "AMB0208"


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ("curl", "curl"),
        ("/usr/bin/python3.11", "python3-11"),
        ("./My_Script.py", "my-script-py"),
        ("_", "program"),
        ("x" * 80, "x" * 63),
    ],
)
def test_name_of_a_pod_is_made_from_its_program(program: str, name: str) -> None:
    """A container's name is a DNS label."""
    assert pod_name(program) == name


def test_variable_without_a_value_takes_it_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As docker's -e does."""
    monkeypatch.setenv("HERE", "yes")
    assert run._variables(("A=1", "B=", "HERE", "ABSENT-HERE")) == {
        "A": "1", "B": "", "HERE": "yes", "ABSENT-HERE": "",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"conditions": [{"type": "Ready", "status": "True"}]}, (True, "")),
        ({"phase": "Pending"}, (False, "phase Pending")),
        (
            {"containerStatuses": [{"state": {"waiting": {"reason": "A", "message": "b"}}}]},
            (False, "A: b"),
        ),
        ({"phase": "Failed", "message": "no command"}, (False, "no command")),
    ],
)
def test_readiness_says_why_not(status: Document, expected: tuple[bool, str]) -> None:
    """The most exact words there are."""
    assert run._readiness({"status": status}) == expected


def test_pod_that_is_on_no_node_has_no_door() -> None:
    """It is said, with a hint."""
    pod = {"metadata": {"name": "web", "namespace": "demo", "uid": "u"}, "spec": {}}
    with pytest.raises(UsageError) as refused:
        find_pod(pod)
    assert refused.value.problem.code == "AMB0422"


def test_api_server_is_the_one_asked_for_then_the_mesh_then_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--kubeconfig``, ``--home``, ``AMBIMESH_HOME``, ``KUBECONFIG``, in this order."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kubeconfig").touch()
    monkeypatch.setenv("AMBIMESH_HOME", str(tmp_path / "one"))
    monkeypatch.setenv("KUBECONFIG", "/elsewhere")

    assert find_kubeconfig(Path("given"), tmp_path / "two") == Path("given")
    assert find_kubeconfig(None, tmp_path / "two") == tmp_path / "two" / "kubeconfig"
    assert find_kubeconfig(None) == tmp_path / "one" / "kubeconfig"
    monkeypatch.setenv("AMBIMESH_HOME", str(tmp_path / "absent"))
    assert find_kubeconfig(None) == Path("/elsewhere")
    monkeypatch.delenv("KUBECONFIG")
    with pytest.raises(UnreachableError):
        find_kubeconfig(None)
