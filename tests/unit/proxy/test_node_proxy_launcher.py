"""The process that hosts the node proxy stays small and answers its arguments."""

import subprocess
import sys

import pytest

from ambimesh.cli import node_proxy

HEAVY = {
    "asyncio",
    "click",
    "grpc",
    "kubernetes",
    "lightkube",
    "logging",
    "msgspec",
    "ssl",
    "typing",
}


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the launcher in an interpreter of its own and report what it imports."""
    command = [sys.executable, "-X", "importtime", "-m", "ambimesh.cli.node_proxy", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def imported(report: str) -> set[str]:
    """Return the modules that an ``-X importtime`` report names."""
    rows = [line.rsplit("|", 1) for line in report.splitlines() if line.startswith("import time:")]
    return {row[1].strip() for row in rows}


def test_version_imports_nothing_heavy() -> None:
    """A node proxy's process carries the core and no Python library."""
    done = launch("version")

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ambimesh node proxy 0.1.0 (")
    modules = imported(done.stderr)
    assert "ambimesh._core" in modules
    assert not modules & HEAVY


def test_help_does_not_load_the_core() -> None:
    """Asking for help must work where the core cannot be loaded."""
    done = launch("help")

    assert done.returncode == 0
    assert done.stdout == node_proxy.USAGE
    assert "ambimesh._core" not in imported(done.stderr)


def test_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt command starts no proxy."""
    code = node_proxy.main(["prxy"])

    assert code == 2
    assert "unknown command 'prxy'" in capsys.readouterr().err


def test_bad_setting_is_named_and_exits_with_2() -> None:
    """The core refuses a bad setting before it opens anything."""
    script = (
        "import sys; from ambimesh import _core; sys.exit(_core.run({'PROXY_MODE': 'sidecar'}))"
    )

    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "PROXY_MODE=" in done.stderr
    assert "sidecar" in done.stderr
