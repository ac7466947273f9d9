"""Kubernetes Services to services of the mesh. Source: spec/control-plane.md §3.4 and §1.3."""

from collections.abc import Mapping
from typing import Final

from ambimesh.compile.addresses import parse_addresses
from ambimesh.compile.waypoints import bound_waypoint
from ambimesh.kube.core import Namespace, Service, ServicePort
from ambimesh.model import workload as model
from ambimesh.model.mesh import Mesh
from ambimesh.model.workload import AppProtocol, LoadBalancing, LoadBalancingMode, Scope

TRAFFIC_DISTRIBUTION: Final = "networking.istio.io/traffic-distribution"

_SAME_ZONE: Final = (Scope.NETWORK, Scope.REGION, Scope.ZONE)
_SAME_NODE: Final = (*_SAME_ZONE, Scope.SUBZONE, Scope.NODE)
_DISTRIBUTIONS: Final[Mapping[str, tuple[Scope, ...]]] = {
    "PreferClose": _SAME_ZONE,
    "PreferSameZone": _SAME_ZONE,
    "PreferSameNode": _SAME_NODE,
}
_ANNOTATED: Final = {name.lower(): scopes for name, scopes in _DISTRIBUTIONS.items()}

_PROTOCOLS: Final[Mapping[str, AppProtocol]] = {
    "http": AppProtocol.HTTP11,
    "http2": AppProtocol.HTTP2,
    "h2c": AppProtocol.HTTP2,
    "kubernetes.io/h2c": AppProtocol.HTTP2,
    "kubernetes.io/ws": AppProtocol.HTTP11,
    "kubernetes.io/wss": AppProtocol.TLS,
    "grpc": AppProtocol.GRPC,
    "https": AppProtocol.TLS,
    "tls": AppProtocol.TLS,
    "tcp": AppProtocol.TCP,
}
_FAMILIES: Final = {
    "IPv4": model.IpFamilies.IPV4_ONLY,
    "IPv6": model.IpFamilies.IPV6_ONLY,
}


def compile_service(
    service: Service, namespace: Namespace | None, mesh: Mesh
) -> model.Service | None:
    """Compile one Kubernetes Service; ``None`` for one that has no place in the mesh.

    ExternalName services are only names; one with an address that is none is left out.
    """
    if service.spec.type == "ExternalName":
        return None
    addresses = parse_addresses(_cluster_ips(service))
    if addresses is None:
        return None
    meta = service.metadata
    return model.Service(
        name=meta.name,
        namespace=meta.namespace,
        hostname=mesh.hostname(meta.namespace, meta.name),
        addresses=tuple(
            model.NetworkAddress(network=mesh.network, address=address) for address in addresses
        ),
        ports=tuple(_port(port) for port in service.spec.ports),
        waypoint=bound_waypoint(meta.labels, meta.namespace, namespace, mesh),
        load_balancing=_load_balancing(service, namespace),
        ip_families=_ip_families(service.spec.ip_families),
        canonical=True,
    )


def annotated_distribution(*annotations: Mapping[str, str]) -> tuple[Scope, ...]:
    """Read traffic distribution from annotations; the first that says anything decides."""
    for found in annotations:
        value = found.get(TRAFFIC_DISTRIBUTION, "")
        if value:
            return _ANNOTATED.get(value.lower(), ())
    return ()


def app_protocol(port_name: str, protocol: str, declared: str) -> AppProtocol:
    """Choose the protocol of a port: as declared, else by the first word of its name.

    Source: Istio's protocol selection.
    """
    if protocol == "UDP":
        return AppProtocol.UNKNOWN
    if declared:
        return _PROTOCOLS.get(declared.lower(), AppProtocol.UNKNOWN)
    name = port_name.lower()
    if name.startswith("grpc-web"):
        return AppProtocol.UNKNOWN
    return _PROTOCOLS.get(name.partition("-")[0], AppProtocol.UNKNOWN)


def _cluster_ips(service: Service) -> tuple[str, ...]:
    spec = service.spec
    found = spec.cluster_ips or (spec.cluster_ip,)
    return tuple(text for text in found if text not in {"", "None"})


def _port(port: ServicePort) -> model.Port:
    target = port.port if port.target_port is None else port.target_port
    return model.Port(
        service_port=port.port,
        target_port=target if isinstance(target, int) else 0,
        protocol=app_protocol(port.name, port.protocol, port.app_protocol),
    )


def _load_balancing(service: Service, namespace: Namespace | None) -> LoadBalancing | None:
    allow = service.spec.publish_not_ready_addresses
    if service.spec.internal_traffic_policy == "Local":
        return LoadBalancing(
            preferences=(Scope.NODE,), mode=LoadBalancingMode.STRICT, allow_unhealthy=allow
        )
    preferences = _preferences(service, namespace)
    if preferences:
        return LoadBalancing(
            preferences=preferences, mode=LoadBalancingMode.FAILOVER, allow_unhealthy=allow
        )
    return LoadBalancing(allow_unhealthy=True) if allow else None


def _preferences(service: Service, namespace: Namespace | None) -> tuple[Scope, ...]:
    declared = service.spec.traffic_distribution
    if declared:
        return _DISTRIBUTIONS.get(declared, ())
    inherited = namespace.metadata.annotations if namespace else {}
    return annotated_distribution(service.metadata.annotations, inherited)


def _ip_families(families: tuple[str, ...]) -> model.IpFamilies:
    if len(families) > 1:
        return model.IpFamilies.DUAL
    return _FAMILIES.get("".join(families), model.IpFamilies.AUTOMATIC)
