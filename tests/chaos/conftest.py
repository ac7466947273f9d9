"""A mesh of two nodes that the tests of this folder may hurt; each leaves it healed."""

from collections.abc import Iterator

import pytest

from support.running_mesh import Program, RunningMesh, case_command, peer

NAMESPACE = "chaos"


@pytest.fixture(scope="session")
def mesh() -> Iterator[RunningMesh]:
    """A running mesh with a server on node-1 and a client on node-2 that asks it all the time."""
    with RunningMesh.started() as running:
        running.kubectl("create", "namespace", NAMESPACE)
        running.run_pods(NAMESPACE, peer("server", node="node-1"))
        host = running.address(NAMESPACE, "server")
        client = Program(
            name="client", node="node-2", command=case_command("endless_requests", host)
        )
        running.run_pods(NAMESPACE, client)
        running.capture(NAMESPACE, "server", "client")
        running.until_tunnelled(NAMESPACE, "client", host, node="node-1")
        yield running
