"""Rules, listeners and socket dumps of a pod, in a real network namespace."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import pytest

from ambimesh.node import nftables, sockdiag
from ambimesh.node.listeners import PORTS, ListenerKind, make_listeners
from ambimesh.node.namespace import NetworkNamespace
from ambimesh.node.nftables import RulesetError
from ambimesh.node.ports import PROXY_MARK, TABLE
from ambimesh.node.redirection import Redirection
from ambimesh.node.ruleset import Opening, capture_ruleset

pytestmark = pytest.mark.lab

IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
APPLICATION_PORT = 8080
OWN = "198.18.1.10"  # an address of the pod that is not loopback, so that it is captured


@pytest.fixture
def pod() -> Iterator[NetworkNamespace]:
    """A namespace with loopback and a link with an address of either family."""
    with NetworkNamespace.create() as made:
        made.run(
            lambda: run(
                "ip link add d0 type veth peer name d1; ip link set d1 up; ip link set d0 up; ip addr add 198.18.1.10/32 dev d0;"
                "ip -6 addr add fd98::10/128 dev d0 nodad; ip route add default dev d0"
            )
        )
        yield made


def run(script: str) -> str:
    """Run a shell script in the namespace of the calling thread."""
    return subprocess.run(
        ["sh", "-ec", script], check=True, capture_output=True, text=True
    ).stdout  # fmt: skip


@contextmanager
def listening(pod: NetworkNamespace) -> Iterator[dict[ListenerKind, socket.socket]]:
    """Make a pod's listeners; closed after the block."""
    made = make_listeners(pod.fileno())
    try:
        yield made
    finally:
        for listener in made.values():
            listener.close()


def bound(port: int, host: str = "0.0.0.0") -> socket.socket:
    """Listen as a program of the pod does."""
    return socket.create_server((host, port))


@pytest.mark.parametrize("openings", [0, 1, 300])
def test_captured_rules_load_and_hold(pod: NetworkNamespace, openings: int) -> None:
    """The kernel takes the ruleset, also with many exempt connections, and reads back the same."""
    exempt = [
        Opening(
            client=ip_address(f"10.0.{n // 256}.{n % 256}"), client_port=1000 + n,
            server=ip_address("fd98::1" if n % 2 else "10.1.1.1"), server_port=80,
        )
        for n in range(0, 2 * openings, 2)
    ]  # fmt: skip

    nftables.load(pod.fileno(), capture_ruleset([*exempt, *exempt[:1]]))
    first = nftables.read_back(pod.fileno(), TABLE)
    nftables.load(pod.fileno(), capture_ruleset(exempt))

    assert first
    assert nftables.read_back(pod.fileno(), TABLE) == first


@pytest.mark.parametrize(
    "change",
    [
        f"nft delete table inet {TABLE}",
        f"nft flush chain inet {TABLE} outbound",
        f"nft insert rule inet {TABLE} outbound tcp dport 80 return",
        f"nft add chain inet {TABLE} extra",
        f"nft flush ruleset && nft add table inet {TABLE}",
    ],
)
def test_reading_back_finds_a_foreign_change(pod: NetworkNamespace, change: str) -> None:
    """Whatever somebody else does to the table is seen, and mended by loading again."""
    rules = Redirection(pod.fileno())
    rules.prepare()
    expected = rules.capture()
    assert rules.holds(expected)

    pod.run(lambda: run(change))

    assert not rules.holds(expected)
    assert rules.capture() == expected


def test_prepare_and_remove_are_idempotent_and_leave_nothing(pod: NetworkNamespace) -> None:
    """What was put in is gone after the removal: table, rules and return routes."""

    def state() -> str:
        return run("ip rule; ip -6 rule; ip route show table all; ip -6 route show table all")

    before = pod.run(state)
    rules = Redirection(pod.fileno())
    for _ in range(2):
        rules.prepare()
    rules.capture()
    assert pod.run(state) != before

    for _ in range(2):
        rules.remove()

    assert pod.run(state) == before
    assert nftables.read_back(pod.fileno(), TABLE) is None


def test_refused_transaction_says_why_and_changes_nothing(pod: NetworkNamespace) -> None:
    """nft's own words come up; what stood before stands."""
    nftables.load(pod.fileno(), capture_ruleset())
    before = nftables.read_back(pod.fileno(), TABLE)

    with pytest.raises(RulesetError, match="No such file or directory"):
        nftables.load(pod.fileno(), f"flush table inet {TABLE}\nadd rule inet nowhere x accept\n")

    assert nftables.read_back(pod.fileno(), TABLE) == before


def test_listeners_are_marked_transparent_and_of_both_families(pod: NetworkNamespace) -> None:
    """Accepted sockets inherit all of it; one socket serves both families."""
    with listening(pod) as made:
        for kind, listener in made.items():
            assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == PROXY_MARK
            assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 1
            assert listener.getsockopt(socket.IPPROTO_IP, IP_TRANSPARENT) == 1
            assert listener.getsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT) == 1
            for host in ("127.0.0.1", "::1"):
                place = (host, PORTS[kind])
                with pod.run(partial(socket.create_connection, place, 2)):
                    listener.setblocking(True)
                    with listener.accept()[0] as accepted:
                        mark = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)
                        assert mark == PROXY_MARK


@pytest.mark.parametrize("port", PORTS.values())
@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_all_listeners_or_none_when_a_port_is_taken(
    pod: NetworkNamespace, port: int, host: str
) -> None:
    """The error names the port of the pod's program, and no other port stays open."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    with pod.run(lambda: bound(port, host)):
        with pytest.raises(OSError, match=f"listen on port {port}"):
            make_listeners(pod.fileno())

        assert len(pod.run(lambda: run("ss -Htln")).splitlines()) == 1
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_carried_connections_are_the_proxys_that_live(pod: NetworkNamespace) -> None:
    """Marked sockets count from accept to end; listeners and others never do."""
    rules = Redirection(pod.fileno())
    with ExitStack() as stack:
        outbound = stack.enter_context(listening(pod))[ListenerKind.OUTBOUND]
        outbound.setblocking(True)
        other = stack.enter_context(pod.run(lambda: bound(APPLICATION_PORT)))
        stack.enter_context(
            pod.run(lambda: socket.create_connection(("127.0.0.1", APPLICATION_PORT)))
        )  # fmt: skip
        stack.enter_context(other.accept()[0])
        assert rules.carried_connections() == 0

        for host in ("127.0.0.1", "::1"):
            stack.enter_context(pod.run(partial(socket.create_connection, (host, 15001))))
        accepted = [stack.enter_context(outbound.accept()[0]) for _ in range(2)]
        assert rules.carried_connections() == 2

        accepted[0].shutdown(socket.SHUT_WR)  # half closed still carries
        assert rules.carried_connections() == 2
    assert rules.carried_connections() == 0


def test_half_open_connections_are_found_from_both_sides(pod: NetworkNamespace) -> None:
    """A client whose SYN was not answered, and a server whose last ACK is missing."""
    lost = "nft add table ip lost; nft add chain ip lost c '{ type filter hook input priority 0; }'"
    with ExitStack() as stack:
        server = stack.enter_context(pod.run(lambda: bound(APPLICATION_PORT, OWN)))
        pod.run(lambda: run(f"{lost}; nft add rule ip lost c tcp sport {APPLICATION_PORT} drop"))
        client = stack.enter_context(pod.run(socket.socket))
        client.setblocking(False)
        assert client.connect_ex(server.getsockname()) != 0

        found = pod.run(sockdiag.openings)

        own = client.getsockname()
        element = f"{own[0]} . {own[1]} . {OWN} . {APPLICATION_PORT}"
        assert [opening.element for opening in found] == [element, element]
        assert Redirection(pod.fileno()).capture()


def test_capture_redirects_new_connections_and_leaves_open_ones(pod: NetworkNamespace) -> None:
    """A connection that is open at the moment of capture goes on; the next meets the proxy."""
    with ExitStack() as stack:
        listeners = stack.enter_context(listening(pod))
        server = stack.enter_context(pod.run(lambda: bound(APPLICATION_PORT, OWN)))
        place = server.getsockname()
        old = stack.enter_context(pod.run(lambda: socket.create_connection(place, 2)))
        peer = stack.enter_context(server.accept()[0])
        rules = Redirection(pod.fileno())
        rules.prepare()
        rules.capture()

        old.sendall(b"still here")
        assert peer.recv(64) == b"still here"
        new = ("203.0.113.1", 80)
        stack.enter_context(pod.run(lambda: socket.create_connection(new, 2)))
        outbound = listeners[ListenerKind.OUTBOUND]
        outbound.setblocking(True)
        stack.enter_context(outbound.accept()[0])
        assert rules.carried_connections() == 1

        rules.drain()
        assert rules.carried_connections() == 1
