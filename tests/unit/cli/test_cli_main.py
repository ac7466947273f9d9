"""The command line: help, exit codes, and what it does not import."""

import subprocess
import sys
from pathlib import Path

import click
import pytest

from ambimesh.cli import main as command_line
from ambimesh.cli.main import COMMANDS, ambi
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError, UnreachableError, UsageError


def command(name: str) -> click.Command:
    """Load a command."""
    found = ambi.get_command(click.Context(ambi), name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_lists_every_option(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each command explains itself, each option with words of its own."""
    assert command_line._run([name, "--help"]) == 0

    text = capsys.readouterr().out
    assert f"Usage: ambi {name}" in text
    for parameter in command(name).params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert all(option in text for option in parameter.opts)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """With one line for each."""
    assert command_line._run(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text and line in text for name, (_, line) in COMMANDS.items())


@pytest.mark.parametrize(
    "arguments",
    [["nothing"], ["get"], ["get", "pods", "--no-such"], ["get", "-o", "xml", "pods"], ["run"], []],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The reason is on standard error, and nothing on standard output."""
    assert command_line._run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError(catalogue.OBJECT_NAME_MISSING.problem()), 2),
        (UnreachableError(catalogue.NO_MESH.problem(cause="no file")), 3),
        (EnvironmentFaultError(catalogue.NFT_MISSING.problem()), 1),
        (KeyboardInterrupt(), 130),
        (BrokenPipeError(), 141),
    ],
)
def test_problem_goes_to_standard_error_with_its_code(
    error: BaseException, code: int, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Three lines for a person, a number for a script, never a traceback."""

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(ambi, "main", fail)
    monkeypatch.setattr(sys.stderr, "close", lambda: None)
    assert command_line._run([]) == code
    said = capsys.readouterr()
    assert said.out == ""
    if isinstance(error, UsageError | UnreachableError | EnvironmentFaultError):
        assert said.err == f"{error.problem.render()}\n"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["delete", "pod"], "AMB0207"),
        (["delete"], "AMB0207"),
        (["apply", "-f", "/nonexistent.yaml"], "AMB0203"),
        (["label", "pod", "web"], "AMB0206"),
        (["label", "pod", "a=b"], "AMB0207"),
        (["port-forward", "web", "x:80"], "AMB0209"),
        (["run", "-l", "novalue", "--", "true"], "AMB0206"),
        (["run", "--", "no-such-program"], "AMB0208"),
        (["run", "--", "true"], "AMB0401"),
        (["get", "pods"], "AMB0401"),
        (["kubeconfig"], "AMB0401"),
    ],
)
def test_mistakes_have_their_own_codes(
    arguments: list[str], code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Each is found before anything is asked of a server; without a mesh that is said."""
    monkeypatch.setenv("AMBIMESH_HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)

    assert command_line._run(arguments) == (3 if code == "AMB0401" else 2)

    assert f"error[{code}]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("ambimesh.cli.main", ("grpc", "lightkube", "httpx2", "asyncio", "structlog", "yaml")),
        ("ambimesh.cli.node_proxy", ("click", "grpc", "lightkube", "asyncio")),
        ("ambimesh.cli.get", ("grpc", "uvicorn", "cryptography")),
    ],
)
def test_a_command_loads_only_what_it_needs(imported: str, absent: tuple[str, ...]) -> None:
    """Help is instant, and `get` does not wait for what serves."""
    code = f"import sys, {imported}; print([m for m in {absent!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
