"""One mesh of two nodes for the tests of this folder; each test has a namespace of its own."""

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from support.running_mesh import RunningMesh

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def mesh() -> Iterator[RunningMesh]:
    """A running mesh, stopped after the last test."""
    with tempfile.TemporaryDirectory(prefix="ambimesh-lab-") as root:
        running = RunningMesh.start(Path(root) / "home")
        try:
            yield running
        finally:
            running.stop()


@pytest.fixture
def namespace(mesh: RunningMesh) -> Iterator[str]:
    """A namespace for one test, deleted after it."""
    name = f"lab-{next(_NUMBERS)}"
    mesh.kubectl("create", "namespace", name)
    yield name
    mesh.kubectl("delete", "namespace", name, "--wait=false")
