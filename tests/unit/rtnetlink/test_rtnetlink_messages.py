"""Requests carry what they are asked to carry; names that the kernel would cut are refused."""

import socket
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.node import rtnetlink_messages as m
from ambimesh.node.rtnetlink_dumps import (
    parse_address,
    parse_link,
    parse_route,
    parse_rule,
)
from ambimesh.node.rtnetlink_wire import Answer, attributes, split

INDEXES = st.integers(1, 2**31 - 1)
MARKS = st.integers(0, 2**32 - 1)


def as_answer(request: m.Request) -> Answer:
    """Read a request as if the kernel had sent it: lists have the same shape."""
    (answer,) = split(m.encode(request, sequence=1))
    return answer


@given(INDEXES, st.ip_addresses(v=4), st.integers(0, 32))
def test_ipv4_address_is_what_was_asked(link: int, ip: object, prefix: int) -> None:
    """Address, prefix and link survive."""
    interface = IPv4Interface(f"{ip}/{prefix}")

    parsed = parse_address(as_answer(m.add_address(link, interface)))

    assert (parsed.link, parsed.interface) == (link, interface)


@given(INDEXES, st.ip_addresses(v=6), st.integers(0, 128))
def test_ipv6_address_is_what_was_asked_and_serves_at_once(
    link: int, ip: object, prefix: int
) -> None:
    """IPv6 addresses are not probed for duplicates first: that takes a second."""
    interface = IPv6Interface(f"{ip}/{prefix}")
    answer = as_answer(m.add_address(link, interface))

    parsed = parse_address(answer)

    assert (parsed.link, parsed.interface) == (link, interface)
    flags = attributes(answer.body[m.IFADDR.size :])[m.IFA_FLAGS]
    assert int.from_bytes(flags, "little") & m.IFA_F_NODAD


@pytest.mark.parametrize(
    ("destination", "gateway"),
    [
        ("0.0.0.0/0", "198.18.1.1"),
        ("::/0", "fd98::1"),
        ("198.19.0.0/16", None),
        ("fd98::/64", None),
    ],
)
@given(link=INDEXES, table=st.integers(1, 2**32 - 1), onlink=st.booleans())
def test_route_is_what_was_asked(
    destination: str, gateway: str | None, link: int, table: int, onlink: bool
) -> None:
    """Destination, gateway, link, table and "on the link" survive."""
    route = m.NewRoute(
        destination=ip_network(destination),
        link=link,
        gateway=None if gateway is None else ip_address(gateway),
        onlink=onlink,
        table=table,
    )

    parsed = parse_route(as_answer(m.add_route(route)))

    assert (parsed.destination, parsed.gateway) == (route.destination, route.gateway)
    assert (parsed.link, parsed.table, parsed.onlink) == (link, table, onlink)
    assert not parsed.local


@given(st.sampled_from([socket.AF_INET, socket.AF_INET6]), MARKS, MARKS, MARKS)
def test_rule_is_what_was_asked(family: int, mark: int, mask: int, priority: int) -> None:
    """Mark, mask, table and priority survive."""
    rule = m.MarkRule(family=family, mark=mark, mask=mask, table=100, priority=priority)

    parsed = parse_rule(as_answer(m.add_rule(rule)))

    assert (parsed.family, parsed.mark, parsed.mask) == (family, mark, mask)
    assert (parsed.table, parsed.priority) == (100, priority)


def test_link_change_carries_only_what_is_given() -> None:
    """What is not to be changed is not in the message."""
    everything = m.LinkChange(up=True, master=7, mtu=1400, address=b"\x02\0\0\0\0\x01")

    changed = parse_link(as_answer(m.change_link("br0", everything)))
    named = parse_link(as_answer(m.change_link("br0", m.LinkChange())))

    assert (changed.up, changed.master, changed.mtu) == (True, 7, 1400)
    assert changed.address == b"\x02\0\0\0\0\x01"
    assert (named.name, named.up, named.master, named.mtu) == ("br0", False, None, 0)


def test_veth_peer_is_born_where_it_belongs() -> None:
    """The peer's name and the descriptor of its namespace stand inside the pair."""
    body = as_answer(m.add_veth("v1", peer="eth0", peer_namespace=9)).body
    info = attributes(attributes(body[m.IFINFO.size :])[m.IFLA_LINKINFO])

    peer = attributes(info[m.IFLA_INFO_DATA])[m.VETH_INFO_PEER]
    there = attributes(peer[m.IFINFO.size :])

    assert info[m.IFLA_INFO_KIND] == b"veth"
    assert there[m.IFLA_IFNAME] == b"eth0\0"
    assert int.from_bytes(there[m.IFLA_NET_NS_FD], "little") == 9


@pytest.mark.parametrize("name", ["", "sixteen-letters!", "a/b", "ä" * 8])
def test_name_that_no_link_can_have_is_refused(name: str) -> None:
    """A name that is too long is an error here, not another name in the kernel."""
    with pytest.raises(ValueError, match="name of a link"):
        m.add_bridge(name)
