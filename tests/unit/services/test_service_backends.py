"""Which endpoints stand behind a service's addresses."""

from ipaddress import ip_address

from ambimesh.kube.core import (
    Endpoint,
    EndpointConditions,
    EndpointPort,
    EndpointSlice,
    Service,
    ServicePort,
    ServiceSpec,
)
from ambimesh.kube.meta import Metadata
from ambimesh.local.services.backends import (
    Backend,
    Frontend,
    cluster_addresses,
    ready_addresses,
    service_backends,
)

V4, V6 = "198.19.0.10", "fd98::a"


def service(*ports: ServicePort, addresses: tuple[str, ...] = (V4, V6), kind: str = "ClusterIP"
            ) -> Service:  # fmt: skip
    """Make the service demo/web."""
    spec = ServiceSpec(type=kind, cluster_ips=addresses, ports=ports or (ServicePort(port=80),))
    return Service(metadata=Metadata(name="web", namespace="demo"), spec=spec)


def slice_of(
    *addresses: str, ports: tuple[EndpointPort, ...] = (EndpointPort(port=8080),),
    ready: bool | None = None, family: str = "IPv4", name: str = "web", namespace: str = "demo",
) -> EndpointSlice:  # fmt: skip
    """Make a slice of a service's endpoints."""
    return EndpointSlice(
        metadata=Metadata(
            name=f"{name}-x", namespace=namespace, labels={"kubernetes.io/service-name": name}
        ),
        address_type=family,
        endpoints=tuple(
            Endpoint(addresses=(a,), conditions=EndpointConditions(ready=ready)) for a in addresses
        ),
        ports=ports,
    )


def found(*services: Service, slices: tuple[EndpointSlice, ...] = ()) -> dict[str, list[str]]:
    """Give backends by frontend, both as text."""
    return {
        f"{f.address} {f.protocol} {f.port}": [f"{b.address} {b.port}" for b in backends]
        for f, backends in service_backends(services, slices).items()
    }


def test_both_families_have_the_endpoints_of_their_own() -> None:
    """An IPv4 address leads to IPv4 endpoints and an IPv6 address to IPv6 ones."""
    slices = (slice_of("10.0.0.2", "10.0.0.1"), slice_of("fd98::1", family="IPv6"))

    assert found(service(), slices=slices) == {
        f"{V4} tcp 80": ["10.0.0.1 8080", "10.0.0.2 8080"],
        f"{V6} tcp 80": ["fd98::1 8080"],
    }


def test_several_slices_are_one_ordered_set() -> None:
    """Endpoints that several slices name are there once."""
    slices = (slice_of("10.0.0.9", "10.0.0.1"), slice_of("10.0.0.10", "10.0.0.9"))

    backends = found(service(addresses=(V4,)), slices=slices)

    assert backends == {f"{V4} tcp 80": ["10.0.0.1 8080", "10.0.0.9 8080", "10.0.0.10 8080"]}


def test_named_ports_are_matched_by_name_and_protocol() -> None:
    """Two ports of one number, TCP and UDP, lead to the slice's ports of their own names."""
    ports = (
        ServicePort(name="dns", port=53, protocol="UDP"),
        ServicePort(name="dns-tcp", port=53, protocol="TCP"),
    )
    targets = (
        EndpointPort(name="dns", protocol="UDP", port=5353),
        EndpointPort(name="dns-tcp", protocol="TCP", port=5354),
    )

    assert found(
        service(*ports, addresses=(V4,)), slices=(slice_of("10.0.0.1", ports=targets),)
    ) == {
        f"{V4} udp 53": ["10.0.0.1 5353"],
        f"{V4} tcp 53": ["10.0.0.1 5354"],
    }


def test_only_ready_endpoints_and_only_those_of_the_service() -> None:
    """Not ready, other service, other namespace, other port name: none is a backend."""
    slices = (
        slice_of("10.0.0.1", ready=False),
        slice_of("10.0.0.2", name="other"),
        slice_of("10.0.0.3", namespace="other"),
        slice_of("10.0.0.4", ports=(EndpointPort(name="x", port=1),)),
        slice_of("10.0.0.5", ports=(EndpointPort(port=None),)),
    )

    assert found(service(addresses=(V4,)), slices=slices) == {f"{V4} tcp 80": []}


def test_headless_and_external_services_and_unknown_protocols_have_no_entry() -> None:
    """They have no address of their own, or nothing that could carry them."""
    assert found(service(addresses=("None",))) == {}
    assert found(service(kind="ExternalName")) == {}
    assert found(service(ServicePort(port=80, protocol="SCTP"))) == {}


def test_single_address_of_an_old_client_counts() -> None:
    """``clusterIP`` alone is enough."""
    alone = Service(metadata=Metadata(name="a"), spec=ServiceSpec(cluster_ip=V4))
    assert cluster_addresses(alone) == (ip_address(V4),)


def test_names_in_slices_are_no_addresses() -> None:
    """A slice of type FQDN is left out."""
    assert ready_addresses([slice_of("example.com", family="FQDN")]) == ()


def test_frontends_and_backends_are_ordered_by_number() -> None:
    """Order is that of numbers, not of text."""
    low = Frontend(address=ip_address("10.0.0.9"), protocol="tcp", port=80)
    high = Frontend(address=ip_address("10.0.0.10"), protocol="tcp", port=80)
    assert sorted([high, low]) == [low, high]
    assert Backend(address=low.address, port=1) != Backend(address=low.address, port=2)
