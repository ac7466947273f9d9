"""What rtnetlink lists, as values. Pure; the opposite of ``rtnetlink_messages``."""

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)

from ambimesh.node import rtnetlink_messages as m
from ambimesh.node.rtnetlink_wire import Answer, MalformedError, attributes


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A network device."""

    index: int
    name: str
    up: bool
    mtu: int
    address: bytes  # MAC address; empty for devices without
    master: int | None  # index of the bridge it is a port of
    kind: str  # "veth", "bridge", ...; empty for devices that are none of a kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """An address on a link."""

    link: int
    interface: IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A route; ``gateway`` and ``link`` where it has them."""

    destination: IPv4Network | IPv6Network
    table: int
    local: bool
    onlink: bool
    gateway: IPv4Address | IPv6Address | None
    link: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy rule; ``mark`` and ``mask`` are 0 for a rule about all packets."""

    family: int
    priority: int
    mark: int
    mask: int
    table: int


def parse_link(answer: Answer) -> Link:
    """Read one link. Errors: ``MalformedError``, as in all of these."""
    (_, _, index, flags, _), found = _parts(m.IFINFO, answer)
    master = _number(found, m.IFLA_MASTER)
    kind = attributes(found.get(m.IFLA_LINKINFO, b"")).get(m.IFLA_INFO_KIND, b"")
    return Link(
        index=index,
        name=_text(found.get(m.IFLA_IFNAME, b"")),
        up=bool(flags & m.IFF_UP),
        mtu=_number(found, m.IFLA_MTU),
        address=found.get(m.IFLA_ADDRESS, b""),
        master=master or None,
        kind=_text(kind),
    )


def parse_address(answer: Answer) -> Address:
    """Read one address."""
    (family, prefix, _, _, link), found = _parts(m.IFADDR, answer)
    # IPv6 has no IFA_LOCAL unless the link is point to point; IPv4's IFA_ADDRESS is the peer.
    packed = found.get(m.IFA_LOCAL, found.get(m.IFA_ADDRESS, b""))
    ip = _ip(family, packed)
    if isinstance(ip, IPv6Address):
        return Address(link=link, interface=IPv6Interface((ip, prefix)))
    return Address(link=link, interface=IPv4Interface((ip, prefix)))


def parse_route(answer: Answer) -> Route:
    """Read one route."""
    (family, prefix, _, _, table, _, _, kind, flags), found = _parts(m.RTMSG, answer)
    packed = found.get(m.RTA_DST, bytes(_size(family)))
    gateway = found.get(m.RTA_GATEWAY)
    return Route(
        destination=_network(family, packed, prefix),
        table=_number(found, m.RTA_TABLE) or table,
        local=kind == m.RTN_LOCAL,
        onlink=bool(flags & m.RTNH_F_ONLINK),
        gateway=None if gateway is None else _ip(family, gateway),
        link=_number(found, m.RTA_OIF) or None,
    )


def parse_rule(answer: Answer) -> Rule:
    """Read one rule."""
    (family, _, _, _, table, *_), found = _parts(m.RULE, answer)
    mark = _number(found, m.FRA_FWMARK)
    return Rule(
        family=family,
        priority=_number(found, m.FRA_PRIORITY),
        mark=mark,
        mask=_number(found, m.FRA_FWMASK),
        table=_number(found, m.FRA_TABLE) or table,
    )


def _parts(head: struct.Struct, answer: Answer) -> tuple[tuple[int, ...], Mapping[int, bytes]]:
    if len(answer.body) < head.size:
        raise MalformedError("a message ends inside its fixed part")
    return head.unpack_from(answer.body), attributes(answer.body[head.size :])


def _number(found: Mapping[int, bytes], kind: int) -> int:
    value = found.get(kind)
    if value is None:
        return 0
    if len(value) != 4:
        raise MalformedError(f"attribute {kind} has {len(value)} bytes, not 4")
    return int(struct.unpack("=I", value)[0])


def _size(family: int) -> int:
    return 16 if family == socket.AF_INET6 else 4


def _ip(family: int, packed: bytes) -> IPv4Address | IPv6Address:
    if len(packed) != _size(family):
        raise MalformedError(f"an address of family {family} has {len(packed)} bytes")
    return IPv6Address(packed) if family == socket.AF_INET6 else IPv4Address(packed)


def _network(family: int, packed: bytes, prefix: int) -> IPv4Network | IPv6Network:
    ip = _ip(family, packed)
    try:
        if isinstance(ip, IPv6Address):
            return IPv6Network((ip, prefix), strict=False)
        return IPv4Network((ip, prefix), strict=False)
    except ValueError as error:
        raise MalformedError(str(error)) from error


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
