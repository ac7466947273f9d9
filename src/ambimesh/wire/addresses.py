"""Workloads and services to and from Istio's workload discovery API."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, Final, TypeVar

from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN, TrustDomain
from ambimesh.model.names import ClusterId, NetworkId, PolicyKey, ServiceKey, WorkloadUid
from ambimesh.model.workload import (
    Address,
    AppProtocol,
    GatewayReference,
    IpFamilies,
    LoadBalancing,
    LoadBalancingMode,
    Locality,
    NamespacedHostname,
    NetworkAddress,
    NetworkMode,
    Port,
    Scope,
    Service,
    TunnelProtocol,
    Visibility,
    Workload,
)
from ambimesh.wire.generated import workload_pb2 as pb

Value = TypeVar("Value")

_TUNNELS: Final = {TunnelProtocol.NONE: pb.NONE, TunnelProtocol.HBONE: pb.HBONE}
_MODES: Final = {
    NetworkMode.STANDARD: pb.STANDARD,
    NetworkMode.HOST_NETWORK: pb.HOST_NETWORK,
}
_APP_PROTOCOLS: Final = {
    AppProtocol.UNKNOWN: pb.UNKNOWN,
    AppProtocol.HTTP11: pb.HTTP11,
    AppProtocol.HTTP2: pb.HTTP2,
    AppProtocol.GRPC: pb.GRPC,
    AppProtocol.TCP: pb.TCP,
    AppProtocol.TLS: pb.TLS,
}
_FAMILIES: Final = {
    IpFamilies.AUTOMATIC: pb.AUTOMATIC,
    IpFamilies.IPV4_ONLY: pb.IPV4_ONLY,
    IpFamilies.IPV6_ONLY: pb.IPV6_ONLY,
    IpFamilies.DUAL: pb.DUAL,
}
_VISIBILITIES: Final = {Visibility.PUBLIC: pb.PUBLIC, Visibility.NAMESPACE: pb.NAMESPACE}
_LB_MODES: Final = {
    LoadBalancingMode.UNSPECIFIED: pb.LoadBalancing.UNSPECIFIED_MODE,
    LoadBalancingMode.STRICT: pb.LoadBalancing.STRICT,
    LoadBalancingMode.FAILOVER: pb.LoadBalancing.FAILOVER,
    LoadBalancingMode.PASSTHROUGH: pb.LoadBalancing.PASSTHROUGH,
}
_SCOPES: Final = {
    Scope.REGION: pb.LoadBalancing.REGION,
    Scope.ZONE: pb.LoadBalancing.ZONE,
    Scope.SUBZONE: pb.LoadBalancing.SUBZONE,
    Scope.NODE: pb.LoadBalancing.NODE,
    Scope.CLUSTER: pb.LoadBalancing.CLUSTER,
    Scope.NETWORK: pb.LoadBalancing.NETWORK,
}


def address_to_wire(address: Address) -> pb.Address:
    """Write a workload or a service. Total."""
    if isinstance(address, Workload):
        return pb.Address(workload=workload_to_wire(address))
    return pb.Address(service=service_to_wire(address))


def workload_to_wire(workload: Workload) -> pb.Workload:
    """Write a workload. Total."""
    locality = workload.locality
    message = pb.Workload(
        uid=workload.uid,
        name=workload.name,
        namespace=workload.namespace,
        addresses=[address.packed for address in workload.addresses],
        hostname=workload.hostname,
        network=workload.network,
        network_mode=_MODES[workload.network_mode],
        tunnel_protocol=_TUNNELS[workload.tunnel_protocol],
        native_tunnel=workload.native_tunnel,
        trust_domain=_trust_domain(workload.trust_domain),
        service_account=workload.service_account,
        node=workload.node,
        workload_type=pb.POD,  # a constant of the API: telemetry must not rely on it
        workload_name=workload.workload_name,
        canonical_name=workload.canonical_name,
        canonical_revision=workload.canonical_revision,
        status=pb.HEALTHY if workload.healthy else pb.UNHEALTHY,
        cluster_id=workload.cluster,
        authorization_policies=workload.authorization_policies,
        services={key: _ports(ports) for key, ports in workload.services.items()},
        locality=_locality(locality) if locality != Locality() else None,
        waypoint=_gateway(workload.waypoint),
        network_gateway=_gateway(workload.network_gateway),
    )
    if workload.capacity is not None:
        message.capacity.value = workload.capacity
    return message


def service_to_wire(service: Service) -> pb.Service:
    """Write a service. Total."""
    return pb.Service(
        name=service.name,
        namespace=service.namespace,
        hostname=service.hostname,
        addresses=[_network_address(address) for address in service.addresses],
        ports=_ports(service.ports).ports,
        subject_alt_names=service.subject_alt_names,
        waypoint=_gateway(service.waypoint),
        load_balancing=_load_balancing(service.load_balancing),
        ip_families=_FAMILIES[service.ip_families],
        canonical=service.canonical,
        visibility=_VISIBILITIES[service.visibility],
    )


def address_from_wire(message: pb.Address) -> Address:
    """Read a workload or a service. Errors: ``ValueError`` names what is wrong."""
    match message.WhichOneof("type"):
        case "workload":
            return workload_from_wire(message.workload)
        case "service":
            return service_from_wire(message.service)
        case _:
            raise ValueError("address without a type")


def workload_from_wire(message: pb.Workload) -> Workload:
    """Read a workload. Errors: ``ValueError`` names what is wrong."""
    locality = message.locality
    return Workload(
        uid=WorkloadUid(message.uid),
        name=message.name,
        namespace=message.namespace,
        addresses=tuple(ip_address(packed) for packed in message.addresses),
        hostname=message.hostname,
        network=NetworkId(message.network),
        network_mode=_read(_MODES, message.network_mode, "network mode"),
        tunnel_protocol=_read(_TUNNELS, message.tunnel_protocol, "tunnel protocol"),
        native_tunnel=message.native_tunnel,
        trust_domain=TrustDomain(message.trust_domain) or DEFAULT_TRUST_DOMAIN,
        service_account=message.service_account,
        node=message.node,
        workload_name=message.workload_name,
        canonical_name=message.canonical_name,
        canonical_revision=message.canonical_revision,
        healthy=message.status == pb.HEALTHY,
        cluster=ClusterId(message.cluster_id),
        authorization_policies=tuple(PolicyKey(key) for key in message.authorization_policies),
        services={ServiceKey(k): _read_ports(p.ports) for k, p in message.services.items()},
        locality=Locality(region=locality.region, zone=locality.zone, subzone=locality.subzone),
        waypoint=_read_gateway(message, "waypoint"),
        network_gateway=_read_gateway(message, "network_gateway"),
        capacity=message.capacity.value if message.HasField("capacity") else None,
    )


def service_from_wire(message: pb.Service) -> Service:
    """Read a service. Errors: ``ValueError`` names what is wrong."""
    balancing = message.load_balancing if message.HasField("load_balancing") else None
    return Service(
        name=message.name,
        namespace=message.namespace,
        hostname=message.hostname,
        addresses=tuple(_read_network_address(address) for address in message.addresses),
        ports=_read_ports(message.ports),
        subject_alt_names=tuple(message.subject_alt_names),
        waypoint=_read_gateway(message, "waypoint"),
        load_balancing=_read_load_balancing(balancing) if balancing is not None else None,
        ip_families=_read(_FAMILIES, message.ip_families, "address families"),
        canonical=message.canonical,
        visibility=_read(_VISIBILITIES, message.visibility, "visibility"),
    )


def _trust_domain(trust_domain: TrustDomain) -> str:
    return "" if trust_domain == DEFAULT_TRUST_DOMAIN else trust_domain


def _locality(locality: Locality) -> pb.Locality:
    return pb.Locality(region=locality.region, zone=locality.zone, subzone=locality.subzone)


def _ports(ports: tuple[Port, ...]) -> pb.PortList:
    return pb.PortList(
        ports=[
            pb.Port(
                service_port=port.service_port,
                target_port=port.target_port,
                app_protocol=_APP_PROTOCOLS[port.protocol],
            )
            for port in ports
        ]
    )


def _network_address(address: NetworkAddress) -> pb.NetworkAddress:
    return pb.NetworkAddress(
        network=address.network, address=address.address.packed, length=address.length
    )


def _gateway(reference: GatewayReference | None) -> pb.GatewayAddress | None:
    if reference is None:
        return None
    destination = reference.destination
    if isinstance(destination, NamespacedHostname):
        hostname = pb.NamespacedHostname(
            namespace=destination.namespace, hostname=destination.hostname
        )
        return pb.GatewayAddress(hostname=hostname, hbone_mtls_port=reference.hbone_port)
    return pb.GatewayAddress(
        address=_network_address(destination), hbone_mtls_port=reference.hbone_port
    )


def _load_balancing(balancing: LoadBalancing | None) -> pb.LoadBalancing | None:
    if balancing is None:
        return None
    return pb.LoadBalancing(
        routing_preference=[_SCOPES[scope] for scope in balancing.preferences],
        mode=_LB_MODES[balancing.mode],
        health_policy=(
            pb.LoadBalancing.ALLOW_ALL
            if balancing.allow_unhealthy
            else pb.LoadBalancing.ONLY_HEALTHY
        ),
    )


def _read(table: Mapping[Value, int], number: int, what: str) -> Value:
    for value, known in table.items():
        if known == number:
            return value
    raise ValueError(f"unknown {what}: {number}")


def _read_ports(ports: Iterable[pb.Port]) -> tuple[Port, ...]:
    return tuple(
        Port(
            service_port=port.service_port,
            target_port=port.target_port,
            protocol=_read(_APP_PROTOCOLS, port.app_protocol, "application protocol"),
        )
        for port in ports
    )


def _read_network_address(message: pb.NetworkAddress) -> NetworkAddress:
    return NetworkAddress(
        network=NetworkId(message.network),
        address=ip_address(message.address),
        length=message.length if message.HasField("length") else None,
    )


def _read_gateway(holder: pb.Workload | pb.Service, field: Any) -> GatewayReference | None:
    if not holder.HasField(field):
        return None
    message: pb.GatewayAddress = getattr(holder, field)
    match message.WhichOneof("destination"):
        case "hostname":
            found = message.hostname
            place = NamespacedHostname(namespace=found.namespace, hostname=found.hostname)
            return GatewayReference(destination=place, hbone_port=message.hbone_mtls_port)
        case "address":
            return GatewayReference(
                destination=_read_network_address(message.address),
                hbone_port=message.hbone_mtls_port,
            )
        case _:
            raise ValueError(f"{field} without a destination")


def _read_load_balancing(message: pb.LoadBalancing) -> LoadBalancing:
    return LoadBalancing(
        preferences=tuple(
            _read(_SCOPES, scope, "routing preference") for scope in message.routing_preference
        ),
        mode=_read(_LB_MODES, message.mode, "load balancing mode"),
        allow_unhealthy=message.health_policy == pb.LoadBalancing.ALLOW_ALL,
    )
