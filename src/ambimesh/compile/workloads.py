"""Pods and bare endpoints to workloads. Source: spec/control-plane.md §3.7, §3.10, §3.11."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from ambimesh.compile.addresses import parse_addresses
from ambimesh.compile.controllers import canonical_name, canonical_revision, workload_name
from ambimesh.compile.waypoints import bound_waypoint
from ambimesh.kube.core import (
    Container,
    Endpoint,
    EndpointSlice,
    Namespace,
    Node,
    Pod,
    Service,
    ServicePort,
)
from ambimesh.kube.istio import ServiceEntry
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import PolicyKey, ServiceKey, endpoint_uid, pod_uid, service_key
from ambimesh.model.workload import (
    IpAddress,
    Locality,
    NetworkMode,
    Port,
    TunnelProtocol,
    Workload,
)

REDIRECTION: Final = "ambient.istio.io/redirection"  # written by the node agent
TUNNEL: Final = "networking.istio.io/tunnel"
SERVICE_NAME: Final = "kubernetes.io/service-name"
TERMINAL_PHASES: Final = frozenset(("Succeeded", "Failed"))

Services = Mapping[ServiceKey, tuple[Port, ...]]


def compile_pod(
    pod: Pod,
    mesh: Mesh,
    *,
    services: Services,
    policies: tuple[PolicyKey, ...],
    node: Node | None,
    namespace: Namespace | None,
) -> Workload | None:
    """Compile one pod; ``None`` when it has ended or has no address (yet).

    Args:
        pod: The pod.
        mesh: Settings of the mesh.
        services: Those that the pod answers for, with ports as ``pod_ports`` gives them.
        policies: Those that it must list.
        node: The node that it runs on, if known.
        namespace: The namespace that it is in, if known.
    """
    addresses = pod_addresses(pod)
    if pod.status.phase in TERMINAL_PHASES or not addresses:
        return None
    meta = pod.metadata
    name = workload_name(pod)
    return Workload(
        uid=pod_uid(mesh.cluster, meta.namespace, meta.name),
        name=meta.name,
        namespace=meta.namespace,
        cluster=mesh.cluster,
        network=mesh.network,
        addresses=addresses,
        network_mode=NetworkMode.HOST_NETWORK if pod.spec.host_network else NetworkMode.STANDARD,
        tunnel_protocol=tunnel_protocol(meta.labels, meta.annotations),
        native_tunnel=meta.labels.get(TUNNEL) == "http",
        trust_domain=mesh.trust_domain,
        service_account=pod.spec.service_account_name,
        waypoint=bound_waypoint(meta.labels, meta.namespace, namespace, mesh),
        node=pod.spec.node_name,
        workload_name=name,
        canonical_name=canonical_name(meta.labels, name),
        canonical_revision=canonical_revision(meta.labels),
        healthy=is_healthy(pod),
        locality=node_locality(node),
        services=services,
        authorization_policies=policies,
    )


def pod_addresses(pod: Pod) -> tuple[IpAddress, ...]:
    """Read the addresses of a pod; none when one of them cannot be read."""
    texts = [entry.ip for entry in pod.status.pod_ips] or [pod.status.pod_ip]
    return parse_addresses(text for text in texts if text) or ()


def is_healthy(pod: Pod) -> bool:
    """Tell whether a pod takes new connections: ready, and not going away."""
    ready = any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions)
    return ready and pod.metadata.deletion_timestamp is None


def tunnel_protocol(labels: Mapping[str, str], annotations: Mapping[str, str]) -> TunnelProtocol:
    """Tell how a workload is reached: captured, or speaking HBONE itself, or plainly."""
    if annotations.get(REDIRECTION) == "enabled" or labels.get(TUNNEL) == "http":
        return TunnelProtocol.HBONE
    return TunnelProtocol.NONE


def node_locality(node: Node | None) -> Locality:
    """Read where a node is from its labels."""
    if node is None:
        return Locality()
    labels = node.metadata.labels
    return Locality(
        region=labels.get("topology.kubernetes.io/region", ""),
        zone=labels.get("topology.kubernetes.io/zone", ""),
        subzone=labels.get("topology.istio.io/subzone", ""),
    )


def pod_ports(
    pod: Pod, services: Iterable[Service], mesh: Mesh
) -> dict[ServiceKey, tuple[Port, ...]]:
    """Map the ports of services to those of a pod; a name the pod does not have is left out."""
    names = dict(_named_ports(pod))
    found = {}
    for service in services:
        meta = service.metadata
        key = service_key(meta.namespace, mesh.hostname(meta.namespace, meta.name))
        ports = ((port, _target(port, names)) for port in service.spec.ports)
        found[key] = tuple(
            Port(service_port=port.port, target_port=target) for port, target in ports if target
        )
    return found


def entry_ports(pod: Pod, entry: ServiceEntry) -> tuple[Port, ...]:
    """Map the ports of a ServiceEntry to those of a pod, by port name first."""
    names = dict(_named_ports(pod))
    return tuple(
        Port(
            service_port=port.number,
            target_port=names.get(port.name) or port.target_port or port.number,
        )
        for port in entry.spec.ports
    )


def compile_endpoints(
    item: EndpointSlice, service: Service | None, mesh: Mesh
) -> tuple[Workload, ...]:
    """Compile the endpoints of a slice that are no pods; none without its service.

    They have no identity, and their addresses may be those of pods, so nobody looks them up
    by address.
    """
    if service is None or item.address_type not in {"IPv4", "IPv6"}:
        return ()
    if service.spec.type == "ExternalName":
        return ()
    ports = slice_ports(item, service)
    owner = service.metadata
    key = service_key(owner.namespace, mesh.hostname(owner.namespace, owner.name))
    bare = (e for e in item.endpoints if e.target_ref is None or e.target_ref.kind != "Pod")
    found = (_endpoint(endpoint, item, mesh, {key: ports}) for endpoint in bare)
    return tuple(workload for workload in found if workload is not None)


def slice_ports(item: EndpointSlice, service: Service) -> tuple[Port, ...]:
    """Join the ports of a slice with those of its service, by name; TCP only."""
    by_name = {port.name: port for port in service.spec.ports if port.protocol == "TCP"}
    return tuple(
        Port(service_port=by_name[port.name].port, target_port=port.port)
        for port in item.ports
        if port.protocol == "TCP" and port.name in by_name and port.port
    )


def _endpoint(
    endpoint: Endpoint, item: EndpointSlice, mesh: Mesh, services: Services
) -> Workload | None:
    addresses = parse_addresses(endpoint.addresses)
    if not addresses:
        return None
    meta = item.metadata
    return Workload(
        uid=endpoint_uid(mesh.cluster, meta.namespace, meta.name, endpoint.addresses[0]),
        name=meta.name,
        namespace=meta.namespace,
        cluster=mesh.cluster,
        network=mesh.network,
        addresses=addresses,
        network_mode=NetworkMode.HOST_NETWORK,
        trust_domain=mesh.trust_domain,
        healthy=endpoint.conditions.ready is not False,
        services=services,
    )


def _named_ports(pod: Pod) -> Iterator[tuple[str, int]]:
    """Give the named TCP ports, those found first last, so that they win in a ``dict``."""
    sidecars = [c for c in pod.spec.init_containers if c.restart_policy == "Always"]
    containers: list[Container] = [*pod.spec.containers, *sidecars]
    for container in reversed(containers):
        for port in reversed(container.ports):
            if port.name and port.protocol == "TCP":
                yield port.name, port.container_port


def _target(port: ServicePort, names: Mapping[str, int]) -> int | None:
    match port.target_port:
        case None:
            return port.port
        case int(number):
            return number or port.port
        case name:
            return names.get(name)
