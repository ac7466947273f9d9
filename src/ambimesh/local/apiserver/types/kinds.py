"""The registry of kinds: what the API serves, under which paths, and what it knows of each.

A kind that is served in several versions is one row for each of them and one stored object:
the fields are the same, only ``apiVersion`` of the answer is that of the request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ambimesh.local.apiserver.types.language import Field, Scalar, Struct
from ambimesh.local.apiserver.types.reader import read
from ambimesh.local.apiserver.types.tables.core import CORE
from ambimesh.local.apiserver.types.tables.gateway import GATEWAY
from ambimesh.local.apiserver.types.tables.istio_networking import ISTIO_NETWORKING
from ambimesh.local.apiserver.types.tables.istio_security import ISTIO_SECURITY
from ambimesh.local.apiserver.types.tables.meta import META
from ambimesh.local.apiserver.types.tables.pods import PODS
from ambimesh.local.apiserver.types.tables.requests import REQUESTS
from ambimesh.local.apiserver.types.tables.routes import ROUTES

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
READ_VERBS = ("get", "list", "watch")
CREATE_ONLY = ("create",)

STRUCTS: Mapping[str, Struct] = read(
    META, CORE, PODS, GATEWAY, ROUTES, ISTIO_SECURITY, ISTIO_NETWORKING, REQUESTS
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kind:
    """One kind in one version, as discovery describes it."""

    group: str  # empty for the core group
    version: str
    kind: str
    plural: str
    schema: Struct = field(repr=False)  # of the whole object
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    selectable_fields: tuple[str, ...] = ()  # besides metadata.name and metadata.namespace
    custom: bool = False  # on a cluster it is a CRD: no strategic merge, empty values are kept
    verbs: tuple[str, ...] = ALL_VERBS
    is_stored: bool = True  # otherwise it is only asked and answered

    @property
    def api_version(self) -> str:
        """Group and version as objects name them: ``v1``, ``apps/v1``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """The name of one object, as kubectl takes it."""
        return self.kind.lower()

    @property
    def list_kind(self) -> str:
        """The kind of a list of these."""
        return f"{self.kind}List"

    @property
    def resource(self) -> str:
        """Plural and group, the same for all versions: ``pods``, ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def has_status(self) -> bool:
        """Whether the status is written through a door of its own."""
        return "status" in self.subresources


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A path below an object, as discovery describes it; empty kind: that of the object."""

    verbs: tuple[str, ...]
    group: str = ""
    version: str = ""
    kind: str = ""


_STREAM = ("create", "get")

SUBRESOURCES: Mapping[str, Subresource] = {
    "attach": Subresource(verbs=_STREAM, version="v1", kind="PodAttachOptions"),
    "binding": Subresource(verbs=CREATE_ONLY, version="v1", kind="Binding"),
    "eviction": Subresource(verbs=CREATE_ONLY, group="policy", version="v1", kind="Eviction"),
    "exec": Subresource(verbs=_STREAM, version="v1", kind="PodExecOptions"),
    "finalize": Subresource(verbs=("update",)),
    "log": Subresource(verbs=("get",)),
    "portforward": Subresource(verbs=_STREAM, version="v1", kind="PodPortForwardOptions"),
    "scale": Subresource(
        verbs=("get", "patch", "update"), group="autoscaling", version="v1", kind="Scale"
    ),
    "status": Subresource(verbs=("get", "patch", "update")),
    "token": Subresource(
        verbs=CREATE_ONLY, group="authentication.k8s.io", version="v1", kind="TokenRequest"
    ),
}


_SAME_FIELDS = {
    "SelfSubjectAccessReview": "SubjectAccessReview",
    "LocalSubjectAccessReview": "SubjectAccessReview",
}


def _whole(kind: str) -> Struct:
    """Give the type of a whole object, from the struct that has its fields."""
    struct = STRUCTS[_SAME_FIELDS.get(kind, kind)]
    text = Scalar(word="string")
    head = {
        "apiVersion": Field(name="apiVersion", type=text, description="Group and version."),
        "kind": Field(name="kind", type=text, description="What the object is."),
        "metadata": Field(name="metadata", type=STRUCTS["ObjectMeta"], is_always_written=True),
    }
    return Struct(name=kind, description=struct.description, fields={**head, **struct.fields})


def _native(
    api_version: str,
    kind: str,
    names: str,  # plural, then short names
    *,
    subresources: str = "",
    fields: str = "",
    categories: str = "",
    namespaced: bool = True,
    verbs: tuple[str, ...] = ALL_VERBS,
) -> Kind:
    group, _, version = api_version.rpartition("/")
    plural, *short_names = names.split()
    return Kind(
        group=group,
        version=version,
        kind=kind,
        plural=plural,
        schema=_whole(kind),
        namespaced=namespaced,
        short_names=tuple(short_names),
        categories=tuple(categories.split()),
        subresources=tuple(subresources.split()),
        selectable_fields=tuple(fields.split()),
        verbs=verbs,
    )


def _custom(
    group: str,
    versions: str,  # the preferred one first
    kind: str,
    names: str,  # plural, then short names
    *,
    subresources: str = "status",
    namespaced: bool = True,
) -> tuple[Kind, ...]:
    is_gateway_api = group.startswith("gateway.")
    categories = "gateway-api" if is_gateway_api else f"istio-io {group.replace('.', '-')}"
    first, *others = versions.split()
    made = replace(
        _native(
            f"{group}/{first}",
            kind,
            names,
            subresources=subresources,
            categories=categories,
            namespaced=namespaced,
        ),
        custom=True,
    )
    return (made, *(replace(made, version=version) for version in others))


def _asked(api_version: str, kind: str, plural: str, *, namespaced: bool = False) -> Kind:
    row = _native(api_version, kind, plural, namespaced=namespaced, verbs=CREATE_ONLY)
    return replace(row, is_stored=False)


_POD_FIELDS = (
    "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName spec.hostNetwork"
    " status.phase status.podIP status.podIPs status.nominatedNodeName"
)
_EVENT_FIELDS = (
    "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid"
    " involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath"
    " reason reportingComponent source type"
)

_GATEWAY_API = "gateway.networking.k8s.io"
_ISTIO_NETWORKING = "v1 v1beta1 v1alpha3"

# fmt: off
KINDS: tuple[Kind, ...] = (
    _native("v1", "Namespace", "namespaces ns", namespaced=False,
            subresources="status finalize", fields="status.phase"),
    _native("v1", "Node", "nodes no", namespaced=False,
            subresources="status", fields="spec.unschedulable"),
    _native("v1", "Pod", "pods po", categories="all", fields=_POD_FIELDS,
            subresources="status log exec attach portforward eviction binding"),
    _native("v1", "Service", "services svc", categories="all", subresources="status",
            fields="spec.clusterIP spec.type"),
    _native("v1", "ServiceAccount", "serviceaccounts sa", subresources="token"),
    _native("v1", "ConfigMap", "configmaps cm"),
    _native("v1", "Secret", "secrets", fields="type"),
    _native("v1", "Event", "events ev", fields=_EVENT_FIELDS),
    _native("v1", "ReplicationController", "replicationcontrollers rc", categories="all",
            subresources="status scale", fields="status.replicas"),
    _native("v1", "ResourceQuota", "resourcequotas quota", subresources="status", verbs=READ_VERBS),
    _native("v1", "LimitRange", "limitranges limits", verbs=READ_VERBS),
    _native("apps/v1", "Deployment", "deployments deploy", categories="all",
            subresources="status scale"),
    _native("apps/v1", "ReplicaSet", "replicasets rs", categories="all",
            subresources="status scale", fields="status.replicas"),
    _native("coordination.k8s.io/v1", "Lease", "leases"),
    _native("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),

    *_custom(_GATEWAY_API, "v1 v1beta1", "GatewayClass", "gatewayclasses gc", namespaced=False),
    *_custom(_GATEWAY_API, "v1 v1beta1", "Gateway", "gateways gtw"),
    *_custom(_GATEWAY_API, "v1 v1beta1", "HTTPRoute", "httproutes"),
    *_custom(_GATEWAY_API, "v1", "GRPCRoute", "grpcroutes"),
    *_custom(_GATEWAY_API, "v1 v1alpha2", "TCPRoute", "tcproutes"),
    *_custom(_GATEWAY_API, "v1 v1alpha3 v1alpha2", "TLSRoute", "tlsroutes"),
    *_custom(_GATEWAY_API, "v1 v1beta1", "ReferenceGrant", "referencegrants refgrant",
             subresources=""),

    *_custom("security.istio.io", "v1 v1beta1", "AuthorizationPolicy", "authorizationpolicies ap"),
    *_custom("security.istio.io", "v1 v1beta1", "PeerAuthentication", "peerauthentications pa"),
    *_custom("security.istio.io", "v1 v1beta1", "RequestAuthentication",
             "requestauthentications ra"),
    *_custom("networking.istio.io", _ISTIO_NETWORKING, "ServiceEntry", "serviceentries se"),
    *_custom("networking.istio.io", _ISTIO_NETWORKING, "WorkloadEntry", "workloadentries we"),
    *_custom("networking.istio.io", _ISTIO_NETWORKING, "VirtualService", "virtualservices vs"),
    *_custom("networking.istio.io", _ISTIO_NETWORKING, "DestinationRule", "destinationrules dr"),
    *_custom("telemetry.istio.io", "v1 v1alpha1", "Telemetry", "telemetries telemetry"),
    *_custom("extensions.istio.io", "v1alpha1", "WasmPlugin", "wasmplugins"),
)
"""Every kind that is stored, the preferred version first."""

ASKED: tuple[Kind, ...] = (
    _asked("authentication.k8s.io/v1", "TokenReview", "tokenreviews"),
    _asked("authentication.k8s.io/v1", "SelfSubjectReview", "selfsubjectreviews"),
    _asked("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews"),
    _asked("authorization.k8s.io/v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    _asked("authorization.k8s.io/v1", "LocalSubjectAccessReview", "localsubjectaccessreviews",
           namespaced=True),
    _asked("authorization.k8s.io/v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
)
"""Kinds that are posted and answered, and never stored."""

BODIES: tuple[Kind, ...] = (
    _asked("authentication.k8s.io/v1", "TokenRequest", "token", namespaced=True),
    _asked("autoscaling/v1", "Scale", "scale", namespaced=True),
    _asked("policy/v1", "Eviction", "eviction", namespaced=True),
    _asked("v1", "Binding", "binding", namespaced=True),
)
"""Kinds of what subresources take and give; none has a path of its own."""
# fmt: on

_BY_PATH = {(kind.group, kind.version, kind.plural): kind for kind in (*KINDS, *ASKED)}
_BY_KIND = {(kind.api_version, kind.kind): kind for kind in (*KINDS, *ASKED, *BODIES)}


def by_path(group: str, version: str, plural: str) -> Kind | None:
    """Find the kind that a path names."""
    return _BY_PATH.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Kind | None:
    """Find the kind that an object names, also those without a path of their own."""
    return _BY_KIND.get((api_version, kind))
