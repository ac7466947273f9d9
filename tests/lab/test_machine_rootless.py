"""Everything about one machine works for an ordinary user as well."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from support.machine import ORDINARY_USER, SOURCE, make_ordinary_python, ordinary_command

pytestmark = pytest.mark.lab

ROOT = SOURCE.parent


@pytest.fixture(scope="module")
def shared() -> Iterator[Path]:
    """Give a directory that ordinary users may pass; pytest's own is closed to them."""
    with TemporaryDirectory(prefix="ambimesh-rootless-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture(scope="module")
def python(shared: Path) -> Path:
    """Give an interpreter that ordinary users can run."""
    return make_ordinary_python(shared / "venv")


@pytest.fixture
def folder(shared: Path) -> Iterator[Path]:
    """Give a directory of the ordinary user."""
    with TemporaryDirectory(prefix="user-", dir=shared) as name:
        os.chown(name, ORDINARY_USER, ORDINARY_USER)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="already runs as an ordinary user")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("module", ["network", "init", "client", "lifetime", "mesh"])
def test_machine_works_without_root(python: Path, folder: Path, module: str) -> None:
    """The lab tests of a machine pass without any right, with one uid and no new privileges."""
    arguments = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        f"--basetemp={folder}/tests",
        "-o",
        "asyncio_default_fixture_loop_scope=function",
    )
    where = f"tests/lab/test_machine_{module}.py"

    done = subprocess.run(
        ordinary_command(python, *arguments, where),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
