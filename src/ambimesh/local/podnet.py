"""The network of one pod: a veth from its sandbox to the node's bridge, and addresses.

A pod has /32 and /128 addresses and a default route by the node that is on the link although
no address says so. So everything it sends passes the node as IP, also to its neighbours, and
the node's service addresses work for it (research: capture §6).
"""

import socket
from dataclasses import dataclass
from hashlib import blake2s
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network

from ambimesh.local import addresses
from ambimesh.local.nodes import BRIDGE, NO_ADDRESS_PROBING
from ambimesh.node.namespace import run_in
from ambimesh.node.rtnetlink import RouteSocket
from ambimesh.node.rtnetlink_messages import (
    LinkChange,
    NewRoute,
    add_address,
    add_route,
    add_veth,
    change_link,
    delete_link,
)

POD_LINK = "eth0"
SANDBOX_SYSCTLS = {
    **NO_ADDRESS_PROBING,
    "net.ipv4.ip_unprivileged_port_start": "0",  # programs that are not root bind port 80
    "net.ipv4.ping_group_range": "0 0",  # the one group that is mapped in a rootless mesh
}
_LINK_PREFIX = "p"
_LINK_DIGEST_BYTES = 7  # 14 characters; with the prefix the longest name a link can have
_EVERYWHERE = addresses.Networks(IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class PodNetwork:
    """What a pod's network is made of."""

    uid: str  # of the pod: its link is named after it, so no name is used twice
    node: int
    host: int  # its number on the node, 10..254

    @property
    def link(self) -> str:
        """Name of the node's end of the veth."""
        return link_name(self.uid)

    @property
    def addresses(self) -> addresses.Addresses:
        """The pod's addresses."""
        return addresses.pod(self.node, self.host)


def link_name(uid: str) -> str:
    """Name the node's end of the veth of the pod with ``uid``."""
    digest = blake2s(uid.encode(), digest_size=_LINK_DIGEST_BYTES).hexdigest()
    return _LINK_PREFIX + digest


def attach(pod: PodNetwork, sandbox: int) -> None:
    """Give the sandbox (a descriptor) its link and addresses; call it in the node's network.

    Blocking: about 2 ms. Errors: ``OSError``; then nothing is left behind.
    """
    with RouteSocket() as node:
        node.apply(add_veth(pod.link, peer=POD_LINK, peer_namespace=sandbox))
        try:
            bridge = socket.if_nametoindex(BRIDGE)
            node.apply(change_link(pod.link, LinkChange(up=True, master=bridge)))
            run_in(sandbox, lambda: _configure(pod))
        except OSError:
            node.apply(delete_link(pod.link))
            raise


def detach(uid: str) -> None:
    """Take the pod's link away, both ends; harmless when it has none."""
    name = link_name(uid)
    with RouteSocket() as node:
        if any(link.name == name for link in node.links()):
            node.apply(delete_link(name))


def _configure(pod: PodNetwork) -> None:
    """Set up the pod's end; runs in its network namespace."""
    link = socket.if_nametoindex(POD_LINK)
    own = pod.addresses
    routers = addresses.gateway(pod.node)
    with RouteSocket() as sandbox:
        sandbox.apply(
            change_link(POD_LINK, LinkChange(up=True)),
            add_address(link, IPv4Interface((own.v4, 32))),
            add_address(link, IPv6Interface((own.v6, 128))),
            *(
                add_route(NewRoute(destination=everywhere, link=link, gateway=router, onlink=True))
                for everywhere, router in zip(_EVERYWHERE.both, routers.both, strict=True)
            ),
        )
