"""One mesh of two nodes for the tests of this folder; each test has a namespace of its own."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from support.running_mesh import RunningMesh

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def mesh() -> Iterator[RunningMesh]:
    """A running mesh, stopped after the last test."""
    with RunningMesh.started() as running:
        yield running


@pytest.fixture(scope="session")
def make_namespace(mesh: RunningMesh) -> Callable[[], str]:
    """Make a namespace with a name of its own; it goes with the mesh."""

    def make() -> str:
        name = f"lab-{next(_NUMBERS)}"
        mesh.kubectl("create", "namespace", name)
        return name

    return make


@pytest.fixture
def namespace(mesh: RunningMesh, make_namespace: Callable[[], str]) -> Iterator[str]:
    """A namespace for one test, deleted after it."""
    name = make_namespace()
    yield name
    mesh.kubectl("delete", "namespace", name, "--wait=false")
