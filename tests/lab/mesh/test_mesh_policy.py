"""Verdicts of a live mesh: what policies say is what happens to connections."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from ambimesh.model.identity import Identity
from support import policy_sets
from support.policy_reference import Connection, Destination, Policies, is_allowed
from support.running_mesh import CAPTURE_LABEL, Program, RunningMesh, peer

pytestmark = pytest.mark.lab

PORTS = (8080, 8081)
UNCAPTURED = {CAPTURE_LABEL: "none"}
Cell = tuple[str, int, int]  # a server's set, family, port
Verdicts = Mapping[tuple[str, Cell], bool]  # by client and cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A truth table: every client against every server, as told and as it is."""

    expected: Verdicts
    observed: Verdicts
    sets: Mapping[str, list[policy_sets.Object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Two namespaces of clients and one of servers, all captured but the client ``plain``."""

    mesh: RunningMesh
    servers: str
    clients: Mapping[str, tuple[str, Identity | None]]  # name: its namespace and identity
    addresses: Mapping[str, tuple[str, str]]  # of clients and servers

    def alphabet(self) -> policy_sets.Alphabet:
        """Give what the policies speak of."""
        known = [who for _, who in self.clients.values() if who]
        blocks = ["198.18.2.0/24", "198.18.1.0/24", "fd98:616d:6269:2::/64"]
        return policy_sets.Alphabet(
            namespaces=sorted({who.namespace for who in known}),
            accounts=[(who.namespace, who.service_account) for who in known],
            blocks=[*blocks, self.addresses["alice"][0], *self.addresses["bob"]],
            ports=PORTS,
        )

    def verdicts(self, client: str) -> dict[Cell, bool]:
        """Try every server, family and port as one client, all at once."""
        cells = {
            f"{name}/{family}/{port}": (self.addresses[name][family], port)
            for name in self.addresses.keys() - self.clients.keys()
            for family in (0, 1)
            for port in PORTS
        }
        targets = json.dumps([[name, *target] for name, target in cells.items()])
        found = self.mesh.case(self.clients[client][0], client, "verdicts", "-", targets)
        return {_cell(name): allowed for name, allowed in found.items()}


def _cell(name: str) -> Cell:
    server, family, port = name.split("/")
    return server, int(family), int(port)


@pytest.fixture(scope="module")
def names(make_namespace: Callable[[], str]) -> tuple[str, str, str]:
    """Make the namespaces of the servers and of two kinds of clients."""
    return make_namespace(), make_namespace(), make_namespace()


@pytest.fixture(scope="module")
def stage(mesh: RunningMesh, names: tuple[str, str, str]) -> Iterator[Stage]:
    """Run a server for each set of policies, and clients near and far."""
    servers, one, two = names
    clients = {
        "alice": (one, Identity(namespace=one, service_account="alice")),
        "bob": (two, Identity(namespace=two, service_account="bob")),
        "near": (two, Identity(namespace=two, service_account="alice")),
        "plain": (one, None),
    }
    mesh.run_pods(one, Program(name="alice", node="node-2"),
                  Program(name="plain", node="node-2", labels=UNCAPTURED))  # fmt: skip
    mesh.run_pods(two, Program(name="bob", node="node-2"),
                  Program(name="near", node="node-1", account="alice"))  # fmt: skip
    addresses = mesh.addresses(one) | mesh.addresses(two)
    shape = Stage(mesh=mesh, servers=servers, clients=clients, addresses=addresses)
    sets = _sets(shape)
    mesh.run_pods(servers, *(peer(s, node="node-1", labels={"set": s}) for s in sets))
    mesh.capture(one, "alice")
    mesh.capture(two, "bob", "near")
    mesh.capture(servers, *sets)
    yield Stage(mesh=mesh, servers=servers, clients=clients,
                addresses=addresses | mesh.addresses(servers))  # fmt: skip
    for namespace in names:
        mesh.kubectl("delete", "namespace", namespace, "--wait=false")


def _sets(stage: Stage) -> dict[str, list[policy_sets.Object]]:
    alphabet = stage.alphabet()
    made = (*policy_sets.hand_written(alphabet), *policy_sets.generated(alphabet))
    return {name: policy_sets.for_server(name, stage.servers, p) for name, p in made}


@pytest.fixture(scope="module")
def table(stage: Stage) -> Table:
    """Put every set in force at once, and take each client's verdicts when they hold."""
    sets = _sets(stage)
    everybody = {(client, cell): True for client in stage.clients for cell in _cells(sets)}
    stage.mesh.until(lambda: _observed(stage) == everybody)
    stage.mesh.apply(*(policy for policies in sets.values() for policy in policies))
    expected = _expected(stage, sets)
    with suppress(AssertionError):  # then the tests show the differences
        stage.mesh.until(lambda: _observed(stage) == expected, seconds=5)
    return Table(expected=expected, observed=_observed(stage), sets=sets)


def _cells(sets: Mapping[str, Any]) -> list[Cell]:
    return [(name, family, port) for name in sets for family in (0, 1) for port in PORTS]


def _observed(stage: Stage) -> Verdicts:
    return {(c, cell): ok for c in stage.clients for cell, ok in stage.verdicts(c).items()}


def _expected(stage: Stage, sets: Mapping[str, list[policy_sets.Object]]) -> Verdicts:
    return {
        (client, cell): _told(stage, sets[cell[0]], client, cell)
        for client in stage.clients
        for cell in _cells(sets)
    }


def _told(stage: Stage, objects: list[policy_sets.Object], client: str, cell: Cell) -> bool:
    """Ask the reference evaluator."""
    server, family, port = cell
    policies = Policies(
        authorization=tuple(o for o in objects if o["kind"] == "AuthorizationPolicy"),
        peer_authentication=tuple(o for o in objects if o["kind"] == "PeerAuthentication"),
    )
    destination = Destination(namespace=stage.servers, labels={"app": server, "set": server})
    connection = Connection(
        source=stage.clients[client][1], port=port,
        source_ip=stage.addresses[client][family],
        destination_ip=stage.addresses[server][family],
    )  # fmt: skip
    return is_allowed(policies, destination, connection)


@pytest.mark.parametrize("client", ["alice", "bob", "near", "plain"])
def test_live_verdicts_equal_the_reference(table: Table, client: str) -> None:
    """Issue 3, 5: every set, family and port, for an identity near and far and for none."""
    wrong = {
        cell: (table.observed[client, cell], table.sets[cell[0]])
        for who, cell in table.expected
        if who == client and table.observed[client, cell] != table.expected[client, cell]
    }

    assert not wrong


def test_the_table_tells_verdicts_apart(table: Table) -> None:
    """Both verdicts are common for every client, and some sets tell clients apart."""
    for client in ("alice", "bob", "near", "plain"):
        mine = [allowed for (who, _), allowed in table.expected.items() if who == client]
        assert 0.15 < sum(mine) / len(mine) < 0.85
    by_cell = [{table.expected[who, cell] for who in ("alice", "bob")}
               for who, cell in table.expected if who == "alice"]  # fmt: skip
    assert sum(len(verdicts) == 2 for verdicts in by_cell) > 20
