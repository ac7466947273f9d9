"""The fabric: the network namespace and the bridge that join the nodes and the control side."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from ambimesh.local import addresses
from ambimesh.local.nodes import (
    BRIDGE_SYSCTLS,
    NO_ADDRESS_PROBING,
    WAN,
    apply_optional_sysctls,
    apply_sysctls,
    bridge_address,
    configure_node,
    make_bridge,
    own_addresses,
    prepare_node,
    routes_to_pods,
)
from ambimesh.node.namespace import run_in
from ambimesh.node.rtnetlink import RouteSocket
from ambimesh.node.rtnetlink_messages import LinkChange, add_veth, change_link

FABRIC_BRIDGE = "fab0"
_FABRIC_SYSCTLS = {**NO_ADDRESS_PROBING, "net.ipv4.ip_unprivileged_port_start": "0"}


@dataclass(frozen=True, slots=True)
class NodeNetwork:
    """A node, and a descriptor of its network namespace."""

    number: int
    namespace: int


def configure_fabric(nodes: Sequence[NodeNetwork]) -> None:
    """Set up the fabric and all nodes; runs in the fabric's network namespace.

    Blocking: about 5 ms a node. Errors: ``OSError``, naming the step.
    """
    apply_sysctls(_FABRIC_SYSCTLS)
    apply_optional_sysctls(BRIDGE_SYSCTLS)
    for node in nodes:
        run_in(node.namespace, prepare_node)
    with RouteSocket() as sockets:
        make_bridge(sockets, FABRIC_BRIDGE, bridge_address(0))
        bridge = socket.if_nametoindex(FABRIC_BRIDGE)
        sockets.apply(*own_addresses(bridge, addresses.control(), prefixes=(24, 64)))
        for node in nodes:
            link = addresses.node_name(node.number)
            sockets.apply(
                add_veth(link, peer=WAN, peer_namespace=node.namespace),
                change_link(link, LinkChange(up=True, master=bridge)),
                *routes_to_pods(node.number, bridge),
            )
    numbers = [node.number for node in nodes]
    for node in nodes:
        others = [number for number in numbers if number != node.number]
        run_in(node.namespace, partial(configure_node, node.number, others))
