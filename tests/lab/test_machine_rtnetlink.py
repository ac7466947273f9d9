"""What rtnetlink does and lists is what ``ip`` shows."""

import json
import socket
import subprocess
from collections.abc import Iterator
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest

from ambimesh.node.namespace import NetworkNamespace
from ambimesh.node.rtnetlink import NetlinkError, RouteSocket
from ambimesh.node.rtnetlink_messages import (
    LinkChange,
    MarkRule,
    NewRoute,
    add_address,
    add_bridge,
    add_route,
    add_rule,
    add_veth,
    change_link,
    delete_address,
    delete_link,
    delete_route,
    delete_rule,
)

pytestmark = pytest.mark.lab

FAMILIES = (socket.AF_INET, socket.AF_INET6)
RULE = MarkRule(family=socket.AF_INET, mark=0x111, mask=0xFFF, table=100, priority=32764)


@pytest.fixture
def pair() -> Iterator[tuple[NetworkNamespace, NetworkNamespace]]:
    """Give two namespaces: in the first a bridge with one end of a veth, in the second eth0."""
    with NetworkNamespace.create() as left, NetworkNamespace.create() as right:

        def make() -> None:
            with RouteSocket() as net:
                net.apply(
                    add_bridge("br0"),
                    add_veth("v1", peer="eth0", peer_namespace=right.fileno()),
                )
                bridge = socket.if_nametoindex("br0")
                net.apply(
                    change_link("br0", LinkChange(up=True, address=b"\x02\0\0\0\0\x01")),
                    change_link("v1", LinkChange(up=True, master=bridge, mtu=1400)),
                )

        left.run(make)
        yield left, right


def ip(*arguments: str) -> Any:
    """Ask ``ip`` in the calling thread's namespace."""
    done = subprocess.run(["ip", "-j", *arguments], capture_output=True, text=True, check=True)
    return json.loads(done.stdout or "[]")


def test_links_are_as_ip_shows_them(pair: tuple[NetworkNamespace, NetworkNamespace]) -> None:
    """Name, index, state, size, bridge and MAC address agree with ``ip link``."""

    def compare() -> None:
        shown = {link["ifname"]: link for link in ip("-d", "link")}
        with RouteSocket() as net:
            for link in net.links():
                theirs = shown.pop(link.name)
                assert (link.index, link.mtu) == (theirs["ifindex"], theirs["mtu"])
                assert link.up == ("UP" in theirs["flags"])
                assert link.address.hex(":") == theirs["address"]
                assert link.kind == theirs.get("linkinfo", {}).get("info_kind", "")
                assert (link.master is not None) == ("master" in theirs)
        assert shown == {}

    pair[0].run(compare)


def test_addresses_and_routes_are_as_ip_shows_them(
    pair: tuple[NetworkNamespace, NetworkNamespace],
) -> None:
    """Addresses, on-link gateways, local tables and rules agree with ``ip``, and go again."""
    v4, v6 = ip_interface("198.18.1.10/32"), ip_interface("fd98::a/128")

    def compare() -> None:
        with RouteSocket() as net:
            link, loopback = socket.if_nametoindex("eth0"), socket.if_nametoindex("lo")
            default = NewRoute(
                destination=ip_network("0.0.0.0/0"),
                link=link,
                gateway=ip_address("198.18.1.1"),
                onlink=True,
            )
            local = NewRoute(destination=ip_network("::/0"), link=loopback, local=True, table=100)
            net.apply(
                change_link("eth0", LinkChange(up=True)),
                add_address(link, v4),
                add_address(link, v6),
                add_route(default),
                add_route(local),
                add_rule(RULE),
            )
            shown = {
                f"{info['local']}/{info['prefixlen']}"
                for device in ip("addr")
                for info in device["addr_info"]
            }
            assert {str(a.interface) for a in net.addresses()} == shown
            assert {str(v4), str(v6)} <= shown
            assert {"dst": "default", "gateway": "198.18.1.1", "dev": "eth0"}.items() <= (
                ip("-4", "route")[0].items()
            )
            assert ip("-4", "route")[0]["flags"] == ["onlink"]
            (shown_local,) = ip("-6", "route", "show", "table", "100")
            assert (shown_local["type"], shown_local["dev"]) == ("local", "lo")
            (ours,) = [r for r in net.routes(socket.AF_INET6) if r.table == 100]
            assert (ours.local, ours.link) == (True, loopback)
            (shown_rule,) = [r for r in ip("rule") if r["priority"] == RULE.priority]
            assert (shown_rule["fwmark"], shown_rule["fwmask"]) == ("0x111", "0xfff")
            assert any(r.mark == RULE.mark for r in net.rules(socket.AF_INET))

            net.apply(
                delete_rule(RULE),
                delete_route(local),
                delete_route(default),
                delete_address(link, v4),
            )
            assert not any(r.mark for f in FAMILIES for r in net.rules(f))
            assert not any(r.table == 100 for f in FAMILIES for r in net.routes(f))
            assert v4 not in {a.interface for a in net.addresses()}

    pair[1].run(compare)


def test_refusal_names_the_request_and_what_the_kernel_said(
    pair: tuple[NetworkNamespace, NetworkNamespace],
) -> None:
    """One failure among several requests is found, and the others are done."""

    def provoke() -> None:
        with RouteSocket() as net:
            with pytest.raises(NetlinkError, match="add bridge br0: File exists"):
                net.apply(add_bridge("br1"), add_bridge("br0"), add_bridge("br2"))
            names = {link.name for link in net.links()}
            assert {"br1", "br2"} <= names
            with pytest.raises(NetlinkError, match="Nexthop has invalid gateway"):
                net.apply(
                    add_route(
                        NewRoute(
                            destination=ip_network("10.0.0.0/8"),
                            link=socket.if_nametoindex("br0"),
                            gateway=ip_address("9.9.9.9"),
                        )
                    )
                )

    pair[0].run(provoke)


def test_deleted_link_takes_its_peer_along(
    pair: tuple[NetworkNamespace, NetworkNamespace],
) -> None:
    """Deleting one end of a veth is enough."""

    def delete() -> None:
        with RouteSocket() as net:
            net.apply(delete_link("v1"))

    pair[0].run(delete)

    with pytest.raises(OSError, match="no interface with this name"):
        pair[1].run(lambda: socket.if_nametoindex("eth0"))


def test_many_links_are_listed_whole() -> None:
    """A list that takes several messages from the kernel is not cut."""
    with NetworkNamespace.create() as space:

        def fill() -> int:
            with RouteSocket() as net:
                for number in range(0, 300, 50):
                    net.apply(*(add_bridge(f"b{n}") for n in range(number, number + 50)))
                return len(net.links())

        assert space.run(fill) == 301


def test_callers_own_namespace_never_changes() -> None:
    """Making and visiting namespaces leaves the calling thread where it was."""
    with NetworkNamespace.current() as before, NetworkNamespace.create() as other:
        inside = other.run(lambda: NetworkNamespace.current().identity)

        with NetworkNamespace.current() as after:
            assert after.identity == before.identity
        assert inside == other.identity != before.identity
