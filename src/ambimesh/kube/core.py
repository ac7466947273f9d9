"""Kinds of the core, discovery, apps and coordination groups, as far as we read them."""

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from ambimesh.kube.meta import Condition, Kind, LabelSelector, Part, Resource


class NamespaceStatus(Part, frozen=True):
    """Whether the namespace is going away."""

    phase: str = "Active"


class Namespace(Resource, frozen=True):
    """A namespace; its labels enrol and bind what is in it."""

    KIND: ClassVar[Kind] = Kind("", "v1", "Namespace", "namespaces", namespaced=False)

    status: NamespaceStatus = NamespaceStatus()


class NodeAddress(Part, frozen=True):
    """One address of a node."""

    type: str = ""
    address: str = ""


class NodeSpec(Part, frozen=True):
    """Whether pods may be placed on a node."""

    unschedulable: bool = False


class NodeStatus(Part, frozen=True):
    """Addresses and health of a node."""

    addresses: tuple[NodeAddress, ...] = ()
    conditions: tuple[Condition, ...] = ()


class Node(Resource, frozen=True):
    """A machine, or one of our nodes on a machine."""

    KIND: ClassVar[Kind] = Kind("", "v1", "Node", "nodes", namespaced=False)

    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()


class EnvironmentVariable(Part, frozen=True):
    """A variable of a container's environment; only literal values are read."""

    name: str = ""
    value: str = ""


class ContainerPort(Part, frozen=True):
    """A port that a container says it listens on."""

    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class ExecAction(Part, frozen=True):
    """A program that answers a probe by its exit code."""

    command: tuple[str, ...] = ()


class HttpHeader(Part, frozen=True):
    """A header that a probe sends."""

    name: str = ""
    value: str = ""


class HttpGetAction(Part, frozen=True):
    """A request that answers a probe by its status."""

    path: str = "/"
    port: int | str = 0
    host: str = ""
    scheme: str = "HTTP"
    http_headers: tuple[HttpHeader, ...] = ()


class TcpSocketAction(Part, frozen=True):
    """A connection that answers a probe by being accepted."""

    port: int | str = 0
    host: str = ""


class Probe(Part, frozen=True):
    """When and how a container is asked for its health."""

    exec: ExecAction | None = None
    http_get: HttpGetAction | None = None
    tcp_socket: TcpSocketAction | None = None
    initial_delay_seconds: int = 0
    period_seconds: int = 10
    timeout_seconds: int = 1
    success_threshold: int = 1
    failure_threshold: int = 3
    termination_grace_period_seconds: int | None = None


class SecurityContext(Part, frozen=True):
    """The user a container's program runs as."""

    run_as_user: int | None = None
    run_as_group: int | None = None


class Container(Part, frozen=True):
    """One program of a pod."""

    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[EnvironmentVariable, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    restart_policy: str = ""  # "Always" on an init container: a sidecar
    startup_probe: Probe | None = None
    liveness_probe: Probe | None = None
    readiness_probe: Probe | None = None
    security_context: SecurityContext = SecurityContext()


class PodSpec(Part, frozen=True):
    """What a pod is to be."""

    node_name: str = ""
    service_account_name: str = ""
    hostname: str = ""
    subdomain: str = ""
    host_network: bool = False
    restart_policy: str = "Always"
    termination_grace_period_seconds: int | None = None
    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] = ()
    node_selector: Mapping[str, str] = msgspec.field(default_factory=dict)
    security_context: SecurityContext = SecurityContext()


class PodAddress(Part, frozen=True):
    """One address of a pod."""

    ip: str = ""


class ContainerStateRunning(Part, frozen=True):
    """A container runs."""

    started_at: str = ""


class ContainerStateWaiting(Part, frozen=True):
    """A container does not run yet, or not again yet."""

    reason: str = ""
    message: str = ""


class ContainerStateTerminated(Part, frozen=True):
    """A container has ended."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: str = ""
    finished_at: str = ""


class ContainerState(Part, frozen=True):
    """Exactly one of the three."""

    running: ContainerStateRunning | None = None
    waiting: ContainerStateWaiting | None = None
    terminated: ContainerStateTerminated | None = None


class ContainerStatus(Part, frozen=True):
    """What a container is."""

    name: str = ""
    ready: bool = False
    started: bool | None = None
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodStatus(Part, frozen=True):
    """What a pod is."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    pod_ips: tuple[PodAddress, ...] = msgspec.field(name="podIPs", default=())
    host_ip: str = msgspec.field(name="hostIP", default="")
    start_time: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Resource, frozen=True):
    """A unit of compute with addresses of its own."""

    KIND: ClassVar[Kind] = Kind("", "v1", "Pod", "pods")

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()


class ServicePort(Part, frozen=True):
    """One port of a service. ``target_port`` may name a container port."""

    name: str = ""
    protocol: str = "TCP"
    port: int = 0
    target_port: int | str | None = None
    app_protocol: str = ""
    node_port: int = 0


class ServiceSpec(Part, frozen=True):
    """Which pods answer for a service, on which addresses and ports."""

    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    cluster_ips: tuple[str, ...] = msgspec.field(name="clusterIPs", default=())
    external_name: str = ""
    ip_families: tuple[str, ...] = ()
    ip_family_policy: str = ""
    selector: Mapping[str, str] = msgspec.field(default_factory=dict)
    ports: tuple[ServicePort, ...] = ()
    publish_not_ready_addresses: bool = False
    internal_traffic_policy: str = ""
    traffic_distribution: str = ""
    session_affinity: str = ""


class ServiceStatus(Part, frozen=True):
    """What reporters have said about a service."""

    conditions: tuple[Condition, ...] = ()


class Service(Resource, frozen=True):
    """A name and addresses for a set of pods."""

    KIND: ClassVar[Kind] = Kind("", "v1", "Service", "services")

    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class ObjectReference(Part, frozen=True):
    """Another object, by kind, name and uid."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class EndpointConditions(Part, frozen=True):
    """Health of an endpoint; an absent ``ready`` means ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class Endpoint(Part, frozen=True):
    """Addresses that answer for a service."""

    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    target_ref: ObjectReference | None = None
    node_name: str = ""
    zone: str = ""
    hostname: str = ""


class EndpointPort(Part, frozen=True):
    """A port of the endpoints of a slice, by the name of the service port."""

    name: str = ""
    protocol: str = "TCP"
    port: int | None = None
    app_protocol: str = ""


class EndpointSlice(Resource, frozen=True):
    """Some endpoints of the service named by ``kubernetes.io/service-name``."""

    KIND: ClassVar[Kind] = Kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")

    address_type: str = ""
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()


class ServiceAccount(Resource, frozen=True):
    """An identity that pods run as."""

    KIND: ClassVar[Kind] = Kind("", "v1", "ServiceAccount", "serviceaccounts")


class ConfigMap(Resource, frozen=True):
    """Named texts."""

    KIND: ClassVar[Kind] = Kind("", "v1", "ConfigMap", "configmaps")

    data: Mapping[str, str] = msgspec.field(default_factory=dict)


class Secret(Resource, frozen=True):
    """Named bytes that few may read. JSON carries them as base64; here they are bytes."""

    KIND: ClassVar[Kind] = Kind("", "v1", "Secret", "secrets")

    type: str = "Opaque"
    data: Mapping[str, bytes] = msgspec.field(default_factory=dict)


class Event(Resource, frozen=True):
    """Something that happened to an object, for people to read."""

    KIND: ClassVar[Kind] = Kind("", "v1", "Event", "events")

    involved_object: ObjectReference = ObjectReference()
    type: str = "Normal"
    reason: str = ""
    message: str = ""
    count: int = 1
    first_timestamp: str = ""
    last_timestamp: str = ""


class TemplateMetadata(Part, frozen=True):
    """Labels and annotations of pods made from a template."""

    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)


class PodTemplate(Part, frozen=True):
    """What the pods of a deployment are to be."""

    metadata: TemplateMetadata = TemplateMetadata()
    spec: PodSpec = PodSpec()


class DeploymentSpec(Part, frozen=True):
    """How many pods of which template."""

    replicas: int = 1
    selector: LabelSelector = LabelSelector()
    template: PodTemplate = PodTemplate()
    paused: bool = False


class DeploymentStatus(Part, frozen=True):
    """How many pods there are."""

    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    updated_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(Resource, frozen=True):
    """A number of equal pods."""

    KIND: ClassVar[Kind] = Kind("apps", "v1", "Deployment", "deployments")

    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class LeaseSpec(Part, frozen=True):
    """Who holds a lease, and until when. Times are RFC 3339 with microseconds."""

    holder_identity: str | None = None
    lease_duration_seconds: int = 0
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int = 0


class Lease(Resource, frozen=True):
    """A lock that expires."""

    KIND: ClassVar[Kind] = Kind("coordination.k8s.io", "v1", "Lease", "leases")

    spec: LeaseSpec = LeaseSpec()
