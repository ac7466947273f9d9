"""Kinds of Istio's groups and of the Gateway API, as far as we read them."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from ambimesh.kube.meta import Condition, Kind, LabelSelector, Part, Resource


class ConditionsStatus(Part, frozen=True):
    """A status that is nothing but conditions."""

    conditions: tuple[Condition, ...] = ()
    observed_generation: int | str = 0


class AuthorizationPolicy(Resource, frozen=True):
    """Who may talk to what. ``kube.policy`` reads the spec, whole or not at all.

    The spec is kept as it came: a field that we do not know must be noticed, never dropped,
    because dropping a condition of a policy makes the policy wider.
    """

    KIND: ClassVar[Kind] = Kind(
        "security.istio.io", "v1", "AuthorizationPolicy", "authorizationpolicies"
    )

    spec: Any = None
    status: ConditionsStatus = ConditionsStatus()


class PeerAuthentication(Resource, frozen=True):
    """Whether workloads take plaintext. ``kube.policy`` reads the spec, as above."""

    KIND: ClassVar[Kind] = Kind(
        "security.istio.io", "v1", "PeerAuthentication", "peerauthentications"
    )

    spec: Any = None
    status: ConditionsStatus = ConditionsStatus()


class WorkloadEntrySpec(Part, frozen=True):
    """One endpoint outside Kubernetes; also an inline endpoint of a ServiceEntry."""

    address: str = ""
    ports: Mapping[str, int] = msgspec.field(default_factory=dict)
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    network: str = ""
    locality: str = ""
    weight: int = 0
    service_account: str = ""


class WorkloadEntry(Resource, frozen=True):
    """A virtual machine, or any process outside Kubernetes."""

    KIND: ClassVar[Kind] = Kind("networking.istio.io", "v1", "WorkloadEntry", "workloadentries")

    spec: WorkloadEntrySpec = WorkloadEntrySpec()
    status: ConditionsStatus = ConditionsStatus()


class ServiceEntryPort(Part, frozen=True):
    """One port of a service entry."""

    number: int = 0
    name: str = ""
    protocol: str = ""
    target_port: int = 0


class WorkloadSelector(Part, frozen=True):
    """Labels of pods and workload entries that answer for a service entry."""

    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class ServiceEntrySpec(Part, frozen=True):
    """Hosts, addresses and endpoints of a service that Kubernetes does not know."""

    hosts: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    ports: tuple[ServiceEntryPort, ...] = ()
    location: str = "MESH_EXTERNAL"
    resolution: str = "NONE"
    endpoints: tuple[WorkloadEntrySpec, ...] = ()
    workload_selector: WorkloadSelector | None = None
    export_to: tuple[str, ...] = ()
    subject_alt_names: tuple[str, ...] = ()


class ServiceEntryAddress(Part, frozen=True):
    """An address that the allocator gave to a host."""

    host: str = ""
    value: str = ""


class ServiceEntryStatus(Part, frozen=True):
    """Allocated addresses and conditions."""

    addresses: tuple[ServiceEntryAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class ServiceEntry(Resource, frozen=True):
    """A service that Kubernetes does not know."""

    KIND: ClassVar[Kind] = Kind("networking.istio.io", "v1", "ServiceEntry", "serviceentries")

    spec: ServiceEntrySpec = ServiceEntrySpec()
    status: ServiceEntryStatus = ServiceEntryStatus()


class AllowedRouteNamespaces(Part, frozen=True):
    """Namespaces whose objects may attach to a listener."""

    from_: str = msgspec.field(name="from", default="Same")
    selector: LabelSelector | None = None


class AllowedRoutes(Part, frozen=True):
    """What may attach to a listener."""

    namespaces: AllowedRouteNamespaces = AllowedRouteNamespaces()


class Listener(Part, frozen=True):
    """One port of a gateway."""

    name: str = ""
    port: int = 0
    protocol: str = ""
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewaySpec(Part, frozen=True):
    """Class and listeners of a gateway."""

    gateway_class_name: str = ""
    listeners: tuple[Listener, ...] = ()


class GatewayAddress(Part, frozen=True):
    """One address of a gateway: ``IPAddress`` or ``Hostname``."""

    type: str = "IPAddress"
    value: str = ""


class GatewayStatus(Part, frozen=True):
    """Addresses and conditions of a gateway."""

    addresses: tuple[GatewayAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Gateway(Resource, frozen=True):
    """A waypoint, or a door at the edge of the mesh."""

    KIND: ClassVar[Kind] = Kind("gateway.networking.k8s.io", "v1", "Gateway", "gateways")

    spec: GatewaySpec = GatewaySpec()
    status: GatewayStatus = GatewayStatus()
