"""The network of one node: the bridge of its pods, its link to the fabric, routes, sysctls.

Everything here runs in the node's network namespace, once.
"""

import socket
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Interface, IPv6Interface

from ambimesh.local import addresses
from ambimesh.node.namespace import write_sysctl
from ambimesh.node.rtnetlink import RouteSocket
from ambimesh.node.rtnetlink_messages import (
    LinkChange,
    NewRoute,
    Request,
    add_address,
    add_bridge,
    add_route,
    change_link,
)

BRIDGE = "br0"
WAN = "wan"

# A new network namespace starts with bridge-nf-call at 1, which would send what the bridge
# forwards through NAT a second time. There is none of it without the br_netfilter module.
BRIDGE_SYSCTLS = {
    "net.bridge.bridge-nf-call-iptables": "0",
    "net.bridge.bridge-nf-call-ip6tables": "0",
    "net.bridge.bridge-nf-call-arptables": "0",
}
# Link-local addresses serve at once. While they look for others that have them (1 to 2 s), a
# node cannot ask for the neighbours of what it forwards, and first connections hang that long.
# The kernel wants both words before it believes it.
NO_ADDRESS_PROBING = {
    "net.ipv6.conf.all.accept_dad": "0",
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.default.router_solicitations": "0",
}
_NODE_SYSCTLS = {
    **NO_ADDRESS_PROBING,
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
    "net.ipv4.ip_unprivileged_port_start": "0",
    # Pods reach each other by the node although they share a bridge: no "there is a better way".
    "net.ipv4.conf.all.send_redirects": "0",
    "net.ipv4.conf.default.send_redirects": "0",
    # A pod of one node cannot send with the address of another node's pod.
    "net.ipv4.conf.all.rp_filter": "1",
    "net.ipv4.conf.default.rp_filter": "1",
}


def prepare_node() -> None:
    """Set what links take over when they are made. Errors: ``OSError``."""
    apply_sysctls(_NODE_SYSCTLS)
    apply_optional_sysctls(BRIDGE_SYSCTLS)


def configure_node(number: int, others: Iterable[int]) -> None:
    """Set up node ``number``, whose ``wan`` link exists, with routes to ``others``.

    Errors: ``OSError``.
    """
    with RouteSocket() as sockets:
        make_bridge(sockets, BRIDGE, bridge_address(number))
        bridge, wan = socket.if_nametoindex(BRIDGE), socket.if_nametoindex(WAN)
        sockets.apply(
            change_link(WAN, LinkChange(up=True)),
            *own_addresses(bridge, addresses.gateway(number), prefixes=(24, 64)),
            *own_addresses(wan, addresses.node(number), prefixes=(24, 64)),
            # So that the node itself has a route to service addresses before NAT sees them.
            *(add_route(NewRoute(destination=n, link=bridge)) for n in addresses.services().both),
            *(request for other in others for request in routes_to_pods(other, wan)),
        )


def routes_to_pods(number: int, link: int) -> list[Request]:
    """Give the routes to the pods of node ``number``, by its address on the fabric."""
    there = zip(addresses.pods(number).both, addresses.node(number).both, strict=True)
    return [
        add_route(NewRoute(destination=network, link=link, gateway=router))
        for network, router in there
    ]


def own_addresses(
    link: int, own: addresses.Addresses, *, prefixes: tuple[int, int]
) -> tuple[Request, ...]:
    """Give the requests that put both addresses on a link."""
    return (
        add_address(link, IPv4Interface((own.v4, prefixes[0]))),
        add_address(link, IPv6Interface((own.v6, prefixes[1]))),
    )


def make_bridge(sockets: RouteSocket, name: str, address: bytes) -> None:
    """Make a bridge and bring it up.

    It is given a MAC address: by default it takes that of a port, changes it as ports come and
    go, and everybody's neighbour tables point nowhere for a while.
    """
    sockets.apply(add_bridge(name))
    sockets.apply(change_link(name, LinkChange(up=True, address=address)))


def bridge_address(number: int) -> bytes:
    """Give the MAC address of the bridge of node ``number`` (0: of the fabric)."""
    locally_administered = b"\x02\x00\xc6\x12"
    return locally_administered + number.to_bytes(1) + b"\x01"


def apply_sysctls(settings: Mapping[str, str]) -> None:
    """Set what must be set. Errors: ``OSError``."""
    for name, value in settings.items():
        write_sysctl(name, value)


def apply_optional_sysctls(settings: Mapping[str, str]) -> None:
    """Set what exists in this kernel. Errors: ``OSError`` other than that it does not."""
    for name, value in settings.items():
        try:
            write_sysctl(name, value)
        except FileNotFoundError:
            continue
