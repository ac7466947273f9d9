"""Rules behind service addresses, in a real kernel."""

import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from ipaddress import ip_address

import pytest

from ambimesh.local.services.backends import Backend, Backends, Frontend
from ambimesh.local.services.service_addresses import transactions
from ambimesh.local.services.service_rules import TABLE, chain_name, changes
from ambimesh.node import nftables
from ambimesh.node.namespace import NetworkNamespace, write_sysctl

pytestmark = pytest.mark.lab

SERVICES = 300


@pytest.fixture
def node() -> Iterator[NetworkNamespace]:
    """A namespace that stands for a node's."""
    with NetworkNamespace.create() as made:
        yield made


def load(node: NetworkNamespace, before: Backends | None, after: Backends) -> None:
    """Program a change."""
    for transaction in transactions(before, after):
        nftables.load(node.fileno(), transaction)


def frontend(number: int, version: int = 4) -> Frontend:
    """Make the frontend of a service by number."""
    base = int(ip_address("198.19.0.0" if version == 4 else "fd98:616d:6269:ffff::"))
    return Frontend(address=ip_address(base + number), protocol="tcp", port=80)


def many(step: int) -> Backends:
    """Make services of both families with ``step`` to 10 endpoints, some with none."""
    return {
        frontend(number, version): tuple(
            Backend(address=ip_address("10.0.0.0" if version == 4 else "fd98::") + e, port=8080)
            for e in range(1, number % 10 + step)
        )
        for number in range(1, SERVICES // 2 + 1)
        for version in (4, 6)
    }


def test_hundreds_of_services_load_in_parts_and_change(node: NetworkNamespace) -> None:
    """From nothing, to others, to none: the kernel takes every transaction, and ends empty."""
    first, second = many(1), dict(list(many(3).items())[50:])

    load(node, None, first)
    load(node, first, second)
    changed = nftables.read_back(node.fileno(), TABLE)
    load(node, None, second)
    rebuilt = nftables.read_back(node.fileno(), TABLE)
    load(node, second, {})
    emptied = nftables.read_back(node.fileno(), TABLE)

    assert changed
    assert rebuilt
    assert sorted(changed) == sorted(rebuilt)
    assert sum(chain_name(f) in line for f in second for line in rebuilt) >= len(second)
    assert emptied
    assert not any('"s-' in line for line in emptied)


def test_connection_meets_an_endpoint_or_is_refused_at_once(node: NetworkNamespace) -> None:
    """A ready endpoint answers for the address; without one the client hears so, both families."""
    node.run(lambda: write_sysctl("net.ipv6.conf.all.accept_dad", "0"))
    backends: Backends = {
        frontend(1): (Backend(address=ip_address("127.0.0.1"), port=8080),),
        frontend(2): (),
        frontend(2, 6): (),
    }
    load(node, None, backends)
    server = node.run(lambda: socket.create_server(("127.0.0.1", 8080)))

    def connect(found: Frontend) -> socket.socket:
        """Connect to an address that loopback routes."""
        family = socket.AF_INET if found.address.version == 4 else socket.AF_INET6
        made = socket.socket(family)
        made.settimeout(2)
        try:
            made.connect((str(found.address), found.port))
        except OSError:
            made.close()
            raise
        return made

    node.run(_route_to_loopback)
    with server:
        with node.run(lambda: connect(frontend(1))), server.accept()[0]:
            pass
        for refused in (frontend(2), frontend(2, 6), frontend(99), frontend(99, 6)):
            with pytest.raises(ConnectionRefusedError):
                node.run(partial(connect, refused))

        moved = {**backends, frontend(1): ()}
        for transaction in changes(backends, moved):
            nftables.load(node.fileno(), transaction)
        with pytest.raises(ConnectionRefusedError):
            node.run(lambda: connect(frontend(1)))


def _route_to_loopback() -> None:
    for arguments in (
        ["route", "add", "198.19.0.0/16", "dev", "lo"],
        ["-6", "route", "add", "fd98:616d:6269:ffff::/112", "dev", "lo"],
    ):
        subprocess.run(["ip", *arguments], check=True)
