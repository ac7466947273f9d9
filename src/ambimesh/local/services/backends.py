"""Which addresses stand behind a service's address: a pure view of services and slices."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Literal

from ambimesh.kube.core import EndpointSlice, Service, ServicePort

IpAddress = IPv4Address | IPv6Address
SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_FAMILIES = {"IPv4": 4, "IPv6": 6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """One port of a service's address."""

    address: IpAddress
    protocol: Literal["tcp", "udp"]
    port: int

    def __lt__(self, other: "Frontend") -> bool:
        """Order by family, address, protocol and port, so that output is stable."""
        return self._key < other._key

    @property
    def _key(self) -> tuple[int, int, str, int]:
        return (self.address.version, int(self.address), self.protocol, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One ready endpoint."""

    address: IpAddress
    port: int


Backends = Mapping[Frontend, tuple[Backend, ...]]


def service_backends(services: Iterable[Service], slices: Iterable[EndpointSlice]) -> Backends:
    """Map every port of every service address to its ready endpoints.

    Shape: one entry per (address, protocol, port), also for those without endpoints (an empty
    tuple); endpoints ordered and without repetition. Headless services have no entry.
    """
    by_service: dict[tuple[str, str], list[EndpointSlice]] = {}
    for item in slices:
        if name := item.metadata.labels.get(SERVICE_NAME_LABEL):
            by_service.setdefault((item.metadata.namespace, name), []).append(item)
    found: dict[Frontend, tuple[Backend, ...]] = {}
    for service in services:
        belonging = by_service.get(service.key, [])
        for address in cluster_addresses(service):
            for port in service.spec.ports:
                if protocol := _protocol(port.protocol):
                    frontend = Frontend(address=address, protocol=protocol, port=port.port)
                    found[frontend] = _ready(belonging, port, address.version)
    return found


def cluster_addresses(service: Service) -> tuple[IpAddress, ...]:
    """Give a service's own addresses; empty when it is headless or only a name."""
    if service.spec.type == "ExternalName":
        return ()
    texts = service.spec.cluster_ips or (service.spec.cluster_ip,)
    return tuple(ip_address(text) for text in texts if text and text != "None")


def ready_addresses(slices: Iterable[EndpointSlice]) -> tuple[IpAddress, ...]:
    """List the addresses of ready endpoints, ordered; what a headless service resolves to."""
    found = {
        ip_address(address)
        for item in slices
        if item.address_type in _FAMILIES
        for endpoint in item.endpoints
        if endpoint.conditions.ready is not False
        for address in endpoint.addresses
    }
    return tuple(sorted(found, key=lambda a: (a.version, int(a))))


def _ready(slices: list[EndpointSlice], port: ServicePort, version: int) -> tuple[Backend, ...]:
    found = {
        (int(address), number): Backend(address=address, port=number)
        for item in slices
        if _FAMILIES.get(item.address_type) == version
        for number in [_port_of(item, port)]
        if number is not None
        for address in ready_addresses([item])
    }
    return tuple(found[key] for key in sorted(found))


def _port_of(item: EndpointSlice, wanted: ServicePort) -> int | None:
    for port in item.ports:
        if port.name == wanted.name and port.protocol == wanted.protocol:
            return port.port
    return None


def _protocol(text: str) -> Literal["tcp", "udp"] | None:
    match text:
        case "TCP":
            return "tcp"
        case "UDP":
            return "udp"
        case _:
            return None  # SCTP: nothing here carries it
