"""What the cluster's DNS server answers."""

from types import MappingProxyType
from typing import Any, cast

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.update
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ambimesh.kube.core import Endpoint, EndpointSlice, Service, ServicePort, ServiceSpec
from ambimesh.kube.meta import Metadata
from ambimesh.local.services.dns import DnsServer, Names, answer

SVC = "svc.cluster.local."


def service(name: str, *addresses: str, kind: str = "ClusterIP") -> Service:
    """Make a service in the namespace demo."""
    spec = ServiceSpec(type=kind, cluster_ips=addresses, ports=(ServicePort(port=80),))
    return Service(metadata=Metadata(name=name, namespace="demo"), spec=spec)


def slice_of(name: str, family: str, *endpoints: tuple[str, str]) -> EndpointSlice:
    """Make a slice; endpoints are (address, hostname)."""
    return EndpointSlice(
        metadata=Metadata(
            name=f"{name}-{family}", namespace="demo", labels={"kubernetes.io/service-name": name}
        ),
        address_type=family,
        endpoints=tuple(Endpoint(addresses=(a,), hostname=h) for a, h in endpoints),
    )


SERVICES = [
    service("web", "198.19.0.10", "fd98::a"),
    service("old", "198.19.0.11"),
    service("db", "None"),
    service("empty", "None"),
    service("many", "None"),
    service("out", kind="ExternalName"),
]
SLICES = [
    slice_of("web", "IPv4", ("198.18.1.9", "web-0")),
    slice_of("db", "IPv4", ("198.18.1.11", "db-1"), ("198.18.1.10", "db-0")),
    slice_of("db", "IPv6", ("fd98::10", "db-0")),
    slice_of("many", "IPv4", *((f"10.0.{n // 250}.{n % 250}", "") for n in range(500))),
]
NAMES = Names(lambda: SERVICES, lambda: SLICES)


def ask(name: str, kind: str = "A") -> tuple[str, list[str]]:
    """Ask; give the word of the answer's code and its addresses."""
    reply = answer(dns.message.make_query(name, kind), NAMES)
    found = [record.to_text() for rrset in reply.answer for record in rrset]
    return dns.rcode.to_text(reply.rcode()), sorted(found)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        (f"web.demo.{SVC}", "A", ["198.19.0.10"]),
        (f"web.demo.{SVC}", "AAAA", ["fd98::a"]),
        (f"WEB.Demo.{SVC.upper()}", "A", ["198.19.0.10"]),
        (f"old.demo.{SVC}", "AAAA", []),
        (f"web.demo.{SVC}", "MX", []),
        (f"web.demo.{SVC}", "ANY", []),
        (f"db.demo.{SVC}", "A", ["198.18.1.10", "198.18.1.11"]),
        (f"db.demo.{SVC}", "AAAA", ["fd98::10"]),
        (f"db-0.db.demo.{SVC}", "A", ["198.18.1.10"]),
        (f"web-0.web.demo.{SVC}", "A", ["198.18.1.9"]),
        (f"empty.demo.{SVC}", "A", []),
        (f"out.demo.{SVC}", "A", []),
    ],
)
def test_names_of_the_cluster_are_answered(name: str, kind: str, expected: list[str]) -> None:
    """A name that exists is NOERROR, also when it has nothing of this type."""
    assert ask(name, kind) == ("NOERROR", expected)


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (f"absent.demo.{SVC}", "NXDOMAIN"),
        (f"web.other.{SVC}", "NXDOMAIN"),
        (f"nobody.db.demo.{SVC}", "NXDOMAIN"),
        (f"a.b.c.demo.{SVC}", "NXDOMAIN"),
        (f"demo.{SVC}", "NXDOMAIN"),
        (SVC, "NXDOMAIN"),
        ("example.com.demo." + SVC, "NXDOMAIN"),
        ("web.demo.pod.cluster.local.", "NXDOMAIN"),
        ("web.", "NXDOMAIN"),
        (".", "NXDOMAIN"),
        ("example.com.", "SERVFAIL"),
        ("xcluster.local.", "SERVFAIL"),
    ],
)
def test_other_names_are_refused_with_the_right_word(name: str, code: str) -> None:
    """A name that cannot be is NXDOMAIN; one that others would know is SERVFAIL."""
    assert ask(name) == (code, [])


def test_answers_are_authoritative_and_repeat_the_question() -> None:
    """The id and the case of the question come back, as resolvers check."""
    query = dns.message.make_query(f"wEb.demo.{SVC}", "A")

    reply = answer(query, NAMES)

    assert reply.id == query.id
    assert reply.question[0].name.to_text() == f"wEb.demo.{SVC}"
    assert reply.flags & dns.flags.AA
    assert reply.flags & dns.flags.QR


class FakeReflector:
    """A collection that stands still."""

    def __init__(self, items: list[Any]) -> None:
        self._items = MappingProxyType({item.key: item for item in items})

    def snapshot(self) -> MappingProxyType[tuple[str, str], Any]:
        return self._items


@pytest.fixture(scope="module")
def server() -> DnsServer:
    """A server that is not on any socket."""
    services, slices = FakeReflector(SERVICES), FakeReflector(SLICES)
    return DnsServer((), cast("Any", services), cast("Any", slices))


def reply_to(
    server: DnsServer, query: dns.message.Message, limit: int | None
) -> dns.message.Message:
    """Ask in bytes."""
    data = server._reply(query.to_wire(), limit)
    assert data is not None
    assert limit is None or len(data) <= max(limit, query.payload)
    return dns.message.from_wire(data)


@pytest.mark.parametrize(
    ("payload", "limit", "count"), [(0, 512, 0), (1232, 512, 0), (0, None, 500), (16384, 512, 500)]
)
def test_answer_that_does_not_fit_is_cut_and_says_so(
    server: DnsServer, payload: int, limit: int | None, count: int
) -> None:
    """Over UDP the limit is the client's; the flag sends it to TCP, where all of it comes."""
    query = dns.message.make_query(f"many.demo.{SVC}", "A")
    if payload:
        query.use_edns(payload=payload)

    reply = reply_to(server, query, limit)

    assert sum(len(rrset) for rrset in reply.answer) == count
    assert bool(reply.flags & dns.flags.TC) == (count == 0)


@pytest.mark.parametrize("opcode", [dns.opcode.STATUS, dns.opcode.NOTIFY, dns.opcode.IQUERY])
def test_other_operations_are_not_implemented(server: DnsServer, opcode: dns.opcode.Opcode) -> None:
    """Only queries are answered; the rest is told so."""
    query = dns.message.make_query(f"web.demo.{SVC}", "A")
    query.set_opcode(opcode)
    assert reply_to(server, query, 512).rcode() == dns.rcode.NOTIMP


def test_update_is_not_implemented(server: DnsServer) -> None:
    """Nobody writes names from outside."""
    assert reply_to(server, dns.update.UpdateMessage("demo."), 512).rcode() == dns.rcode.NOTIMP


def test_query_without_a_question_is_a_format_error(server: DnsServer) -> None:
    """One question is wanted."""
    query = dns.message.make_query(".", "A")
    query.question.clear()
    assert reply_to(server, query, 512).rcode() == dns.rcode.FORMERR


def test_answers_are_never_answered(server: DnsServer) -> None:
    """Two servers must not talk to each other for ever."""
    query = dns.message.make_query(f"web.demo.{SVC}", "A")
    query.flags |= dns.flags.QR
    assert server._reply(query.to_wire(), 512) is None


@given(st.one_of(st.binary(max_size=120), st.binary(max_size=60).map(lambda b: b"\0" * 4 + b)))
@example(b"")
@example(b"\0\1\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1")
def test_any_bytes_are_answered_or_passed_over(server: DnsServer, data: bytes) -> None:
    """Whatever a pod sends, the server neither raises nor hangs."""
    for limit in (512, None):
        reply = server._reply(data, limit)
        assert reply is None or reply[:2] == data[:2]


@given(st.text(max_size=40))
def test_any_name_is_looked_up(name: str) -> None:
    """A lookup gives addresses or None."""
    found = NAMES.lookup(name)
    assert found is None or isinstance(found, tuple)
