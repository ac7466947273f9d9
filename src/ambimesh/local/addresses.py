"""The addresses of a mesh on one machine. Pure; nothing outside our namespaces sees them.

    fabric            198.18.0.0/24     fd98:616d:6269::/64        control side is .1 and ::1
    node N (1..200)   198.18.0.(N+1)    fd98:616d:6269::(N+1)      on the fabric
    pods of node N    198.18.N.0/24     fd98:616d:6269:N::/64      .1 and ::1 are the node
    services          198.19.0.0/16     fd98:616d:6269:ffff::/112

Pods have the numbers 10 to 254 of their node's range, as /32 and /128. N is written in
hexadecimal in IPv6 addresses, and so is the number of a pod.
Source: RFC 2544 (198.18.0.0/15 is for benchmarks, so nobody routes it); RFC 4193 (fd00::/8).
"""

from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

MAX_NODES = 200
FIRST_POD = 10
LAST_POD = 254
SERVICES_V4 = IPv4Network("198.19.0.0/16")
SERVICES_V6 = IPv6Network("fd98:616d:6269:ffff::/112")
KUBERNETES_SERVICE = IPv4Address("198.19.0.1")
API_PORT = 443  # on the control address, behind KUBERNETES_SERVICE
XDS_PORT = 15012
DEBUG_PORT = 15014

_PODS_V4 = IPv4Network("198.18.0.0/16")
_ULA = IPv6Network("fd98:616d:6269::/48")


@dataclass(frozen=True, slots=True)
class Addresses:
    """An address of each family."""

    v4: IPv4Address
    v6: IPv6Address

    @property
    def both(self) -> tuple[IPv4Address | IPv6Address, ...]:
        """Give them in the order of Kubernetes: IPv4 is the primary family."""
        return self.v4, self.v6


@dataclass(frozen=True, slots=True)
class Networks:
    """A network of each family."""

    v4: IPv4Network
    v6: IPv6Network

    @property
    def both(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Give them, IPv4 first."""
        return self.v4, self.v6

    def address(self, number: int) -> Addresses:
        """Give the address with ``number`` in both."""
        return Addresses(self.v4[number], self.v6[number])


class PodAddressesExhaustedError(Exception):
    """All 245 addresses of a node are in use."""


def fabric() -> Networks:
    """Give the network that joins the nodes and the control side."""
    return _networks(0)


def control() -> Addresses:
    """Give the address of the API and the control plane."""
    return fabric().address(1)


def node(number: int) -> Addresses:
    """Give the address of a node on the fabric."""
    _check_node(number)
    return fabric().address(number + 1)


def pods(number: int) -> Networks:
    """Give the network of a node's pods."""
    _check_node(number)
    return _networks(number)


def gateway(number: int) -> Addresses:
    """Give a node's address for its pods: their router and their DNS server."""
    return pods(number).address(1)


def pod(number: int, host: int) -> Addresses:
    """Give the addresses of pod ``host`` (10..254) of a node."""
    if not FIRST_POD <= host <= LAST_POD:
        raise ValueError(f"pod {host} is not in {FIRST_POD}..{LAST_POD}")
    return pods(number).address(host)


def services() -> Networks:
    """Give the networks of service addresses."""
    return Networks(SERVICES_V4, SERVICES_V6)


def free_pod(taken: Collection[int], *, after: int = LAST_POD) -> int:
    """Choose a number for a new pod: the next free one above ``after``, then from the start.

    Going round, rather than taking the lowest, leaves an address unused as long as possible:
    peers may still hold tunnels to the pod that had it.
    Errors: ``PodAddressesExhaustedError``.
    """
    numbers = range(FIRST_POD, LAST_POD + 1)
    turn = [n for n in numbers if n > after] + [n for n in numbers if n <= after]
    for number in turn:
        if number not in taken:
            return number
    raise PodAddressesExhaustedError(f"all {len(numbers)} pod addresses of the node are in use")


def node_name(number: int) -> str:
    """Give the name of a node."""
    _check_node(number)
    return f"node-{number}"


def node_number(name: str) -> int:
    """Read the number of a node from its name. Errors: ``ValueError``."""
    prefix, _, number = name.rpartition("-")
    if prefix != "node" or not number.isdigit():
        raise ValueError(f"{name} is no name of a node, such as node-1")
    _check_node(int(number))
    return int(number)


def _networks(third: int) -> Networks:
    v4 = IPv4Network((int(_PODS_V4.network_address) + (third << 8), 24))
    v6 = IPv6Network((int(_ULA.network_address) + (third << 64), 64))
    return Networks(v4, v6)


def _check_node(number: int) -> None:
    if not 1 <= number <= MAX_NODES:
        raise ValueError(f"node {number} is not in 1..{MAX_NODES}")
