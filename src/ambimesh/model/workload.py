"""Workloads and services: the two kinds of address in Istio's workload discovery API."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN, Identity, TrustDomain
from ambimesh.model.names import (
    LOCAL_NETWORK,
    ClusterId,
    NetworkId,
    PolicyKey,
    ResourceName,
    ServiceKey,
    WorkloadUid,
    service_key,
)

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network


class TunnelProtocol(StrEnum):
    """How a workload wants to be reached."""

    NONE = "none"
    HBONE = "hbone"


class NetworkMode(StrEnum):
    """Whose address a workload has."""

    STANDARD = "standard"
    HOST_NETWORK = "host network"  # its node's: never look a workload up by such an address


class AppProtocol(StrEnum):
    """What a service port speaks."""

    UNKNOWN = "unknown"
    HTTP11 = "http11"
    HTTP2 = "http2"
    GRPC = "grpc"
    TCP = "tcp"
    TLS = "tls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Locality:
    """Where a workload runs."""

    region: str = ""
    zone: str = ""
    subzone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAddress:
    """An address, or a range of them, in a network."""

    network: NetworkId
    address: IpAddress
    length: int | None = None  # of the prefix; None: this one address

    @property
    def alias(self) -> str:
        """Give the name by which on-demand subscribers ask: ``<network>/<ip>[/<length>]``."""
        suffix = "" if self.length is None else f"/{self.length}"
        return f"{self.network}/{self.address}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespacedHostname:
    """A service, as a place to send to."""

    namespace: str
    hostname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayReference:
    """A waypoint or network gateway, as a place to send to."""

    destination: NamespacedHostname | NetworkAddress
    hbone_port: int = 15008


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """One port of a service.

    Invariant: ``target_port`` 0 means that each workload says for itself.
    """

    service_port: int
    target_port: int
    protocol: AppProtocol = AppProtocol.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One addressable unit of compute: a pod, a virtual machine, an endpoint of a service.

    Invariants: it can be reached somehow: by an address in ``network``, or by a hostname the
    node proxy resolves, or through a network gateway.
    Source: ``istio.workload.Workload``.
    """

    uid: WorkloadUid  # "<cluster>/<group>/<kind>/<namespace>/<name>", unique in the mesh
    name: str
    namespace: str
    cluster: ClusterId
    addresses: tuple[IpAddress, ...] = ()
    hostname: str = ""
    network: NetworkId = LOCAL_NETWORK
    network_gateway: GatewayReference | None = None
    network_mode: NetworkMode = NetworkMode.STANDARD
    tunnel_protocol: TunnelProtocol = TunnelProtocol.NONE
    native_tunnel: bool = False  # it terminates HBONE itself
    trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN
    service_account: str = ""
    waypoint: GatewayReference | None = None
    node: str = ""
    workload_name: str = ""  # of the controller: the deployment of a pod
    canonical_name: str = ""
    canonical_revision: str = ""
    healthy: bool = True
    locality: Locality = Locality()
    capacity: int | None = None  # weight among the endpoints of a service; None: 1
    services: Mapping[ServiceKey, tuple[Port, ...]] = field(default_factory=dict)
    authorization_policies: tuple[PolicyKey, ...] = ()

    def __post_init__(self) -> None:
        if not (self.addresses or self.hostname or self.network_gateway):
            raise ValueError(f"workload {self.uid}: no address, hostname or network gateway")

    @property
    def resource_name(self) -> ResourceName:
        """The name of its xDS resource."""
        return ResourceName(self.uid)

    @property
    def identity(self) -> Identity:
        """Who it is; an empty service account means ``default``."""
        return Identity(
            trust_domain=self.trust_domain,
            namespace=self.namespace,
            service_account=self.service_account or "default",
        )


class Visibility(StrEnum):
    """Who may resolve a service."""

    PUBLIC = "public"
    NAMESPACE = "namespace"


class LoadBalancingMode(StrEnum):
    """What preferences mean."""

    UNSPECIFIED = "unspecified"
    STRICT = "strict"  # only endpoints that match every preference
    FAILOVER = "failover"  # as many preferences as can be met
    PASSTHROUGH = "passthrough"  # the original destination


class Scope(StrEnum):
    """What a source and an endpoint may have in common."""

    REGION = "region"
    ZONE = "zone"
    SUBZONE = "subzone"
    NODE = "node"
    CLUSTER = "cluster"
    NETWORK = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancing:
    """Which endpoints of a service are preferred."""

    preferences: tuple[Scope, ...] = ()  # the most important first
    mode: LoadBalancingMode = LoadBalancingMode.UNSPECIFIED
    allow_unhealthy: bool = False


class IpFamilies(StrEnum):
    """Which address families a service has."""

    AUTOMATIC = "automatic"
    IPV4_ONLY = "ipv4"
    IPV6_ONLY = "ipv6"
    DUAL = "dual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A name and addresses for a set of workloads, which refer to it by its key.

    Source: ``istio.workload.Service``.
    """

    name: str
    namespace: str
    hostname: str
    addresses: tuple[NetworkAddress, ...] = ()
    ports: tuple[Port, ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    waypoint: GatewayReference | None = None
    load_balancing: LoadBalancing | None = None
    ip_families: IpFamilies = IpFamilies.AUTOMATIC
    canonical: bool = False
    visibility: Visibility = Visibility.PUBLIC

    @property
    def key(self) -> ServiceKey:
        """Its key in the ``services`` of workloads."""
        return service_key(self.namespace, self.hostname)

    @property
    def resource_name(self) -> ResourceName:
        """The name of its xDS resource."""
        return ResourceName(self.key)


Address = Workload | Service
