"""ServiceEntry and WorkloadEntry to services and workloads.

Source: spec/control-plane.md §3.5, §3.6, §3.8 and §3.9.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from ambimesh.compile.addresses import parse_address, parse_range
from ambimesh.compile.controllers import canonical_name, canonical_revision
from ambimesh.compile.selection import Labels
from ambimesh.compile.services import annotated_distribution, app_protocol
from ambimesh.compile.waypoints import bound_waypoint
from ambimesh.compile.workloads import TUNNEL, Services, tunnel_protocol
from ambimesh.kube.core import Namespace, Service, ServicePort
from ambimesh.kube.istio import ServiceEntry, ServiceEntryPort, WorkloadEntry, WorkloadEntrySpec
from ambimesh.model import workload as model
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import (
    NetworkId,
    PolicyKey,
    ServiceKey,
    service_entry_uid,
    service_key,
    workload_entry_uid,
)
from ambimesh.model.workload import (
    IpAddress,
    LoadBalancing,
    LoadBalancingMode,
    Locality,
    NetworkAddress,
    Port,
    Workload,
)

ALLOCATE: Final = "networking.istio.io/enable-autoallocate-ip"

_DNS: Final = frozenset(("DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"))
_WORKLOAD_NAME: Final = "service.istio.io/workload-name"
_AUTO_REGISTRATION: Final = "istio.io/autoRegistrationGroup"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A wish to be the service of a hostname; ``canonical`` is decided among all of them."""

    service: model.Service
    from_kubernetes: bool
    age_key: tuple[str, str, str]


Claimant = TypeVar("Claimant", bound=Hashable)


def winners(claims: Mapping[Claimant, Claim]) -> dict[Claimant, model.Service]:
    """Choose one service a namespace among those of one hostname, and the canonical one.

    Kubernetes Services win; else the oldest ServiceEntry does.
    """
    ordered = sorted(claims, key=lambda name: _rank(claims[name]))
    by_namespace: dict[str, Claimant] = {}
    for name in ordered:
        by_namespace.setdefault(claims[name].service.namespace, name)
    eligible = (name for name in by_namespace.values() if _may_be_canonical(claims[name]))
    canonical = next(eligible, None)
    return {
        name: replace(claims[name].service, canonical=name == canonical)
        for name in by_namespace.values()
    }


def compile_service_entry(
    entry: ServiceEntry, namespace: Namespace | None, mesh: Mesh
) -> tuple[model.Service, ...]:
    """Compile one entry into one service a host; none when an address cannot be read."""
    spec = entry.spec
    declared = [parse_range(text, mesh.network) for text in spec.addresses]
    addresses = tuple(address for address in declared if address is not None)
    if len(addresses) != len(declared):
        return ()
    return tuple(
        model.Service(
            name=entry.metadata.name,
            namespace=entry.metadata.namespace,
            hostname=host,
            addresses=addresses or _allocated(entry, host, mesh.network),
            ports=tuple(_service_port(port) for port in spec.ports),
            subject_alt_names=spec.subject_alt_names,
            waypoint=bound_waypoint(
                entry.metadata.labels, entry.metadata.namespace, namespace, mesh
            ),
            load_balancing=_load_balancing(entry, namespace),
        )
        for host in dict.fromkeys(spec.hosts)
    )


def entry_endpoints(
    entry: ServiceEntry,
    hosts: frozenset[str],
    mesh: Mesh,
    policies: tuple[PolicyKey, ...],
) -> tuple[Workload, ...]:
    """Compile the endpoints that an entry lists, or those that its hosts stand for.

    Args:
        entry: The entry.
        hosts: Its hosts that won; with none there is no endpoint.
        mesh: Settings of the mesh.
        policies: Those that workloads with the labels of the entry must list.
    """
    spec = entry.spec
    namespace = entry.metadata.namespace
    if spec.endpoints:
        keys = [service_key(namespace, host) for host in sorted(hosts)]
        listed = (
            _inline_endpoint(entry, endpoint, keys, mesh, policies)
            for endpoint in (spec.endpoints if hosts else ())
        )
        return tuple({w.uid: w for w in listed if w is not None}.values())
    if spec.workload_selector is not None or spec.resolution not in _DNS:
        return ()
    return tuple(_implicit_endpoint(entry, host, mesh, policies) for host in sorted(hosts))


def compile_workload_entry(
    item: WorkloadEntry,
    mesh: Mesh,
    *,
    services: Services,
    policies: tuple[PolicyKey, ...],
    namespace: Namespace | None,
) -> Workload | None:
    """Compile one WorkloadEntry; ``None`` when it says no address."""
    meta, spec = item.metadata, item.spec
    labels = workload_entry_labels(item)
    if not spec.address:
        return None
    addresses, hostname = _place(spec.address)
    name = meta.annotations.get(_AUTO_REGISTRATION) or labels.get(_WORKLOAD_NAME) or meta.name
    return Workload(
        uid=workload_entry_uid(mesh.cluster, meta.namespace, meta.name),
        name=meta.name,
        namespace=meta.namespace,
        cluster=mesh.cluster,
        network=NetworkId(spec.network) if spec.network else mesh.network,
        addresses=addresses,
        hostname=hostname,
        tunnel_protocol=tunnel_protocol(labels, meta.annotations),
        native_tunnel=labels.get(TUNNEL) == "http",
        trust_domain=mesh.trust_domain,
        service_account=spec.service_account,
        waypoint=bound_waypoint(labels, meta.namespace, namespace, mesh),
        workload_name=name,
        canonical_name=canonical_name(labels, name),
        canonical_revision=canonical_revision(labels),
        locality=parse_locality(spec.locality),
        capacity=spec.weight or None,
        services=services,
        authorization_policies=policies,
    )


def workload_entry_labels(item: WorkloadEntry) -> Labels:
    """Join the labels of the object with those of its spec, which win."""
    return {**item.metadata.labels, **item.spec.labels}


def workload_entry_ports(
    item: WorkloadEntry,
    services: Iterable[Service],
    entries: Iterable[tuple[ServiceEntry, frozenset[str]]],
    mesh: Mesh,
) -> dict[ServiceKey, tuple[Port, ...]]:
    """Map the ports of the services that select a WorkloadEntry to its own.

    ``entries`` come with the hosts that they speak for.
    """
    ports = item.spec.ports
    found: dict[ServiceKey, tuple[Port, ...]] = {}
    for service in services:
        meta = service.metadata
        key = service_key(meta.namespace, mesh.hostname(meta.namespace, meta.name))
        targets = ((port.port, _kubernetes_target(port, ports)) for port in service.spec.ports)
        found[key] = tuple(Port(service_port=p, target_port=t) for p, t in targets if t)
    for entry, hosts in entries:
        mapped = _mapped(entry.spec.ports, ports)
        for host in hosts:
            found[service_key(entry.metadata.namespace, host)] = mapped
    return found


def parse_locality(text: str) -> Locality:
    """Read ``region/zone/subzone``; what is missing is empty."""
    region, _, rest = text.partition("/")
    zone, _, subzone = rest.partition("/")
    return Locality(region=region, zone=zone, subzone=subzone)


def _rank(claim: Claim) -> tuple[bool, tuple[str, str, str]]:
    return (not claim.from_kubernetes, claim.age_key)


def _may_be_canonical(claim: Claim) -> bool:
    return claim.from_kubernetes or claim.service.visibility is not model.Visibility.NAMESPACE


def _allocated(entry: ServiceEntry, host: str, network: NetworkId) -> tuple[NetworkAddress, ...]:
    """Give the addresses that the allocator wrote, where allocation applies."""
    if entry.spec.resolution == "NONE" or entry.metadata.labels.get(ALLOCATE) == "false":
        return ()
    if host.startswith("*") and entry.spec.resolution != "DYNAMIC_DNS":
        return ()
    mine = (address.value for address in entry.status.addresses if address.host == host)
    parsed = (parse_address(text) for text in mine)
    return tuple(
        NetworkAddress(network=network, address=address)
        for address in parsed
        if address is not None
    )


def _service_port(port: ServiceEntryPort) -> Port:
    return Port(
        service_port=port.number,
        target_port=port.target_port or port.number,
        protocol=app_protocol(port.name, port.protocol, port.protocol),
    )


def _load_balancing(entry: ServiceEntry, namespace: Namespace | None) -> LoadBalancing | None:
    if entry.spec.resolution == "NONE":
        return LoadBalancing(mode=LoadBalancingMode.PASSTHROUGH, allow_unhealthy=True)
    inherited = namespace.metadata.annotations if namespace else {}
    preferences = annotated_distribution(entry.metadata.annotations, inherited)
    if not preferences:
        return None
    return LoadBalancing(preferences=preferences, mode=LoadBalancingMode.FAILOVER)


def _inline_endpoint(
    entry: ServiceEntry,
    endpoint: WorkloadEntrySpec,
    keys: Iterable[ServiceKey],
    mesh: Mesh,
    policies: tuple[PolicyKey, ...],
) -> Workload | None:
    if not endpoint.address:
        return None
    meta = entry.metadata
    addresses, hostname = _place(endpoint.address)
    ports = _mapped(entry.spec.ports, endpoint.ports)
    name = endpoint.labels.get(_WORKLOAD_NAME) or meta.name
    return Workload(
        uid=service_entry_uid(mesh.cluster, meta.namespace, meta.name, endpoint.address),
        name=meta.name,
        namespace=meta.namespace,
        cluster=mesh.cluster,
        network=NetworkId(endpoint.network) if endpoint.network else mesh.network,
        addresses=addresses,
        hostname=hostname,
        tunnel_protocol=tunnel_protocol(endpoint.labels, {}),
        native_tunnel=endpoint.labels.get(TUNNEL) == "http",
        trust_domain=mesh.trust_domain,
        service_account=endpoint.service_account,
        workload_name=name,
        canonical_name=canonical_name(endpoint.labels, name),
        canonical_revision=canonical_revision(endpoint.labels),
        locality=parse_locality(endpoint.locality),
        capacity=endpoint.weight or None,
        services=dict.fromkeys(keys, ports),
        authorization_policies=policies,
    )


def _implicit_endpoint(
    entry: ServiceEntry, host: str, mesh: Mesh, policies: tuple[PolicyKey, ...]
) -> Workload:
    meta = entry.metadata
    return Workload(
        uid=service_entry_uid(mesh.cluster, meta.namespace, meta.name, host),
        name=meta.name,
        namespace=meta.namespace,
        cluster=mesh.cluster,
        network=mesh.network,
        hostname=host,
        trust_domain=mesh.trust_domain,
        workload_name=meta.name,
        canonical_name=canonical_name(meta.labels, meta.name),
        canonical_revision=canonical_revision(meta.labels),
        services={service_key(meta.namespace, host): _mapped(entry.spec.ports, {})},
        authorization_policies=policies,
    )


def _place(address: str) -> tuple[tuple[IpAddress, ...], str]:
    found = parse_address(address)
    return ((found,), "") if found is not None else ((), address)


def _mapped(ports: Iterable[ServiceEntryPort], own: Mapping[str, int]) -> tuple[Port, ...]:
    return tuple(
        Port(
            service_port=port.number,
            target_port=own.get(port.name) or port.target_port or port.number,
        )
        for port in ports
    )


def _kubernetes_target(port: ServicePort, own: Mapping[str, int]) -> int | None:
    if isinstance(port.target_port, str):
        return own.get(port.target_port)
    return own.get(port.name) or port.target_port or port.port
