"""Names of the cluster for the pods of one node: services, headless services, their pods.

What is not a name of the cluster is asked of the machine's own resolvers if they can be reached
from the node; on one machine they usually cannot, and the answer is SERVFAIL.

Source: the Kubernetes DNS specification.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final, cast

import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
import structlog

from ambimesh.kube.core import EndpointSlice, Service
from ambimesh.kube.reflector import Reflector
from ambimesh.local.services.backends import (
    SERVICE_NAME_LABEL,
    IpAddress,
    cluster_addresses,
    ready_addresses,
)

log = structlog.get_logger("dns")

TTL_SECONDS = 5
CLUSTER_DOMAIN: Final = "cluster.local"
_SERVICE_LABELS = 2  # <service>.<namespace> before .svc.cluster.local
_ENDPOINT_LABELS = 3  # <hostname>.<service>.<namespace>
_UDP_LIMIT_BYTES = 512
_TCP_IDLE_SECONDS = 10.0


class Names:
    """What the names of the cluster stand for."""

    def __init__(
        self,
        services: Callable[[], Iterable[Service]],
        slices: Callable[[], Iterable[EndpointSlice]],
    ) -> None:
        self._services = services
        self._slices = slices

    def lookup(self, name: str) -> tuple[IpAddress, ...] | None:
        """Give the addresses of a name; ``None``: the cluster has no such name."""
        labels = name.lower().removesuffix(".").removesuffix(f".svc.{CLUSTER_DOMAIN}").split(".")
        if len(labels) not in (_SERVICE_LABELS, _ENDPOINT_LABELS):
            return None
        hostname = labels.pop(0) if len(labels) == _ENDPOINT_LABELS else ""
        service = self._service(labels[1], labels[0])
        if service is None:
            return None
        if not hostname and (own := cluster_addresses(service)):
            return own
        slices = self._slices_of(service)
        if not hostname:
            return ready_addresses(slices)
        return _of_hostname(slices, hostname) or None

    def _service(self, namespace: str, name: str) -> Service | None:
        return next((s for s in self._services() if s.key == (namespace, name)), None)

    def _slices_of(self, service: Service) -> list[EndpointSlice]:
        return [
            item
            for item in self._slices()
            if item.metadata.namespace == service.metadata.namespace
            and item.metadata.labels.get(SERVICE_NAME_LABEL) == service.metadata.name
        ]


def answer(query: dns.message.Message, names: Names) -> dns.message.Message:
    """Answer one query about a name of the cluster; pure."""
    reply = dns.message.make_response(query, recursion_available=True)
    if query.opcode() != dns.opcode.QUERY:
        reply.set_rcode(dns.rcode.NOTIMP)
        return reply
    if len(query.question) != 1:
        reply.set_rcode(dns.rcode.FORMERR)
        return reply
    question = query.question[0]
    name = question.name.to_text().lower()
    if not name.endswith(f".{CLUSTER_DOMAIN}."):
        # There is no way out of the node's network, so nobody could be asked.
        reply.set_rcode(dns.rcode.NXDOMAIN if name.count(".") == 1 else dns.rcode.SERVFAIL)
        return reply
    reply.flags |= dns.flags.AA
    found = names.lookup(name) if name.endswith(f".svc.{CLUSTER_DOMAIN}.") else None
    if found is None:
        reply.set_rcode(dns.rcode.NXDOMAIN)
        return reply
    version = {dns.rdatatype.A: 4, dns.rdatatype.AAAA: 6}.get(question.rdtype)
    texts = [str(address) for address in found if address.version == version]
    if texts:
        records = dns.rrset.from_text(question.name, TTL_SECONDS, "IN", question.rdtype, *texts)
        reply.answer.append(records)
    return reply


class DnsServer:
    """Serves names on the node's addresses for its pods, over UDP and TCP, port 53."""

    def __init__(
        self,
        addresses: Iterable[IpAddress],
        services: Reflector[Service],
        slices: Reflector[EndpointSlice],
    ) -> None:
        self._addresses = tuple(addresses)
        self._names = Names(
            lambda: services.snapshot().values(), lambda: slices.snapshot().values()
        )

    async def run(self, *, started: Callable[[], None]) -> None:
        """Serve until cancelled. Errors: ``OSError`` when port 53 is taken."""
        loop = asyncio.get_running_loop()
        transports, servers = [], []
        try:
            for address in self._addresses:
                transport, _ = await loop.create_datagram_endpoint(
                    lambda: _UdpProtocol(self._reply), local_addr=(str(address), 53)
                )
                transports.append(transport)
                servers.append(await asyncio.start_server(self._serve_tcp, str(address), 53))
            started()
            await asyncio.Event().wait()
        finally:
            for transport in transports:
                transport.close()
            for server in servers:
                server.close()

    def _reply(self, data: bytes, limit: int | None) -> bytes | None:
        """Answer the bytes of a query; ``None`` for what is no query at all."""
        try:
            query = dns.message.from_wire(data)
        except (dns.exception.DNSException, ValueError):
            return None
        if query.flags & dns.flags.QR:
            return None
        reply = answer(query, self._names)
        if limit is None:
            return reply.to_wire()
        try:
            return reply.to_wire(max_size=max(query.payload, limit))
        except dns.exception.TooBig:
            reply.answer.clear()
            reply.flags |= dns.flags.TC
            return reply.to_wire()

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TCP_IDLE_SECONDS):
                size = int.from_bytes(await reader.readexactly(2))
                reply = self._reply(await reader.readexactly(size), None)
                if reply is not None:
                    writer.write(len(reply).to_bytes(2) + reply)
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


class _UdpProtocol(asyncio.DatagramProtocol):
    def __init__(self, reply: Callable[[bytes, int | None], bytes | None]) -> None:
        self._reply = reply
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        reply = self._reply(data, _UDP_LIMIT_BYTES)
        if reply is not None and self._transport is not None:
            self._transport.sendto(reply, addr)


def _of_hostname(slices: Iterable[EndpointSlice], hostname: str) -> tuple[IpAddress, ...]:
    found = [
        item.__class__(
            metadata=item.metadata,
            address_type=item.address_type,
            endpoints=tuple(e for e in item.endpoints if e.hostname == hostname),
        )
        for item in slices
    ]
    return ready_addresses(found)
