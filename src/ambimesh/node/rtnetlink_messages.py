"""What we ask of rtnetlink, as values. Pure.

Each function gives a ``Request``: one message, and words for it that an error can quote.
Source: linux/rtnetlink.h, if_link.h, if_addr.h, fib_rules.h; rtnetlink(7).
"""

import socket
import struct
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from ambimesh.node.rtnetlink_wire import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    attribute,
    message,
    nested,
)

MAX_LINK_NAME = 15  # IFNAMSIZ without its NUL
TABLE_MAIN = 254
FR_ACT_TO_TBL = 1

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34

IFF_UP = 0x1
IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER = 1, 3, 4, 10
IFLA_LINKINFO, IFLA_NET_NS_FD = 18, 28
IFLA_INFO_KIND, IFLA_INFO_DATA, VETH_INFO_PEER = 1, 2, 1
IFA_ADDRESS, IFA_LOCAL, IFA_FLAGS = 1, 2, 8
IFA_F_NODAD = 0x02
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_TABLE = 1, 4, 5, 6, 15
RTN_UNICAST, RTN_LOCAL = 1, 2
RTNH_F_ONLINK = 4
RTPROT_BOOT = 3
RT_SCOPE_UNIVERSE, RT_SCOPE_LINK, RT_SCOPE_HOST = 0, 253, 254
FRA_PRIORITY, FRA_FWMARK, FRA_TABLE, FRA_FWMASK = 6, 10, 15, 16

IFINFO = struct.Struct("=BxHiII")  # family, type, index, flags, change
IFADDR = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, index
RTMSG = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, protocol, scope, type, flags
RULE = struct.Struct("=BBBBBBBBI")  # family, dst, src, tos, table, 0, 0, action, flags
_CREATE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
_CHANGE = NLM_F_REQUEST | NLM_F_ACK
_REPLACE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE
_LIST = NLM_F_REQUEST | NLM_F_DUMP

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network
IpAddress = IPv4Address | IPv6Address


@dataclass(frozen=True, slots=True)
class Request:
    """One message for the kernel; ``text`` says in words what it asks."""

    kind: int
    flags: int
    body: bytes
    text: str


def encode(request: Request, *, sequence: int) -> bytes:
    """Give the bytes of ``request``; its answers carry ``sequence``."""
    return message(request.kind, request.flags, sequence, request.body)


# -- links ---------------------------------------------------------------------------------


def add_veth(name: str, *, peer: str, peer_namespace: int | None = None) -> Request:
    """Make a veth pair ``name`` and ``peer``; the peer is born in ``peer_namespace`` (a fd)."""
    there = [_name(peer)]
    if peer_namespace is not None:
        there.append(_u32(IFLA_NET_NS_FD, peer_namespace))
    pair = nested(IFLA_INFO_DATA, [nested(VETH_INFO_PEER, [_ifinfo(), *there])])
    return _link(RTM_NEWLINK, _CREATE, [_name(name), _kind("veth", pair)], f"add veth {name}")


def add_bridge(name: str) -> Request:
    """Make a bridge without ports."""
    return _link(RTM_NEWLINK, _CREATE, [_name(name), _kind("bridge")], f"add bridge {name}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange:
    """What to change of a link; ``None`` is left alone."""

    up: bool | None = None
    master: int | None = None  # index of the bridge
    mtu: int | None = None
    address: bytes | None = None  # the six bytes of its MAC address
    namespace: int | None = None  # descriptor of where to move it


def change_link(name: str, change: LinkChange) -> Request:
    """Change the link ``name``."""
    parts = [_name(name)]
    if change.master is not None:
        parts.append(_u32(IFLA_MASTER, change.master))
    if change.mtu is not None:
        parts.append(_u32(IFLA_MTU, change.mtu))
    if change.address is not None:
        parts.append(attribute(IFLA_ADDRESS, change.address))
    if change.namespace is not None:
        parts.append(_u32(IFLA_NET_NS_FD, change.namespace))
    mask = 0 if change.up is None else IFF_UP
    head = _ifinfo(flags=IFF_UP if change.up else 0, mask=mask)
    return Request(RTM_SETLINK, _CHANGE, head + b"".join(parts), f"change link {name}")


def delete_link(name: str) -> Request:
    """Delete the link ``name`` (of a veth pair: both)."""
    return _link(RTM_DELLINK, _CHANGE, [_name(name)], f"delete link {name}")


def dump_links() -> Request:
    """Ask for all links."""
    return Request(RTM_GETLINK, _LIST, _ifinfo(), "list links")


# -- addresses -----------------------------------------------------------------------------


def add_address(link: int, interface: Interface) -> Request:
    """Give ``interface`` to the link of that index; IPv6 at once, without looking for others."""
    packed = interface.ip.packed
    parts = [attribute(IFA_LOCAL, packed), attribute(IFA_ADDRESS, packed)]
    if interface.version == 6:
        parts.append(_u32(IFA_FLAGS, IFA_F_NODAD))
    return _address(RTM_NEWADDR, _CREATE, link, interface, parts, "add")


def delete_address(link: int, interface: Interface) -> Request:
    """Take ``interface`` away from the link of that index."""
    parts = [attribute(IFA_LOCAL, interface.ip.packed)]
    return _address(RTM_DELADDR, _CHANGE, link, interface, parts, "delete")


def dump_addresses() -> Request:
    """Ask for all addresses of both families."""
    return Request(RTM_GETADDR, _LIST, IFADDR.pack(0, 0, 0, 0, 0), "list addresses")


# -- routes --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRoute:
    """A route: to ``destination`` by link, by gateway, or (``local``) to this very host.

    ``onlink``: the gateway is on the link although no address of ours says so.
    """

    destination: Network
    link: int
    gateway: IpAddress | None = None
    onlink: bool = False
    local: bool = False
    table: int = TABLE_MAIN


def add_route(route: NewRoute) -> Request:
    """Add ``route``, or put it in the place of one to the same destination."""
    return _route(RTM_NEWROUTE, _REPLACE, route, "add")


def delete_route(route: NewRoute) -> Request:
    """Delete ``route``."""
    return _route(RTM_DELROUTE, _CHANGE, route, "delete")


def dump_routes(family: int) -> Request:
    """Ask for the routes of one family, all tables."""
    return Request(RTM_GETROUTE, _LIST, RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "list routes")


# -- rules ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRule:
    """Packets whose mark is ``mark`` under ``mask`` are routed by ``table``."""

    family: int  # socket.AF_INET or AF_INET6
    mark: int
    mask: int
    table: int
    priority: int


def add_rule(rule: MarkRule) -> Request:
    """Add ``rule``."""
    return _rule(RTM_NEWRULE, _CREATE, rule, "add")


def delete_rule(rule: MarkRule) -> Request:
    """Delete ``rule``."""
    return _rule(RTM_DELRULE, _CHANGE, rule, "delete")


def dump_rules(family: int) -> Request:
    """Ask for the rules of one family."""
    return Request(RTM_GETRULE, _LIST, RULE.pack(family, 0, 0, 0, 0, 0, 0, 0, 0), "list rules")


# -- parts ---------------------------------------------------------------------------------


def family_of(version: int) -> int:
    """Give the address family of an IP version (4, 6)."""
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def _ifinfo(flags: int = 0, mask: int = 0) -> bytes:
    return IFINFO.pack(0, 0, 0, flags, mask)


def _link(kind: int, flags: int, parts: list[bytes], text: str) -> Request:
    return Request(kind, flags, _ifinfo() + b"".join(parts), text)


def _name(name: str) -> bytes:
    if not 0 < len(name.encode()) <= MAX_LINK_NAME or "/" in name:
        raise ValueError(f"{name!r} cannot be the name of a link")
    return attribute(IFLA_IFNAME, name.encode() + b"\0")


def _kind(kind: str, *more: bytes) -> bytes:
    return nested(IFLA_LINKINFO, [attribute(IFLA_INFO_KIND, kind.encode()), *more])


def _u32(kind: int, value: int) -> bytes:
    return attribute(kind, struct.pack("=I", value))


def _address(
    kind: int, flags: int, link: int, interface: Interface, parts: list[bytes], verb: str
) -> Request:
    head = IFADDR.pack(
        family_of(interface.version), interface.network.prefixlen, 0, RT_SCOPE_UNIVERSE, link
    )
    return Request(kind, flags, head + b"".join(parts), f"{verb} address {interface}")


def _route(kind: int, flags: int, route: NewRoute, verb: str) -> Request:
    if route.local:
        scope, what = RT_SCOPE_HOST, RTN_LOCAL
    else:
        scope = RT_SCOPE_UNIVERSE if route.gateway else RT_SCOPE_LINK
        what = RTN_UNICAST
    head = RTMSG.pack(
        family_of(route.destination.version),
        route.destination.prefixlen,
        0,
        0,
        0,  # the table is an attribute: its number may need more than eight bits
        RTPROT_BOOT,
        scope,
        what,
        RTNH_F_ONLINK if route.onlink else 0,
    )
    parts = [_u32(RTA_TABLE, route.table), _u32(RTA_OIF, route.link)]
    if route.destination.prefixlen:
        parts.append(attribute(RTA_DST, route.destination.network_address.packed))
    if route.gateway is not None:
        parts.append(attribute(RTA_GATEWAY, route.gateway.packed))
    return Request(kind, flags, head + b"".join(parts), f"{verb} route {route.destination}")


def _rule(kind: int, flags: int, rule: MarkRule, verb: str) -> Request:
    head = RULE.pack(rule.family, 0, 0, 0, 0, 0, 0, FR_ACT_TO_TBL, 0)
    parts = [
        _u32(FRA_PRIORITY, rule.priority),
        _u32(FRA_FWMARK, rule.mark),
        _u32(FRA_FWMASK, rule.mask),
        _u32(FRA_TABLE, rule.table),
    ]
    return Request(kind, flags, head + b"".join(parts), f"{verb} rule for mark {rule.mark:#x}")
