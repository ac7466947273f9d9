"""The registry of kinds."""

from collections import Counter

import msgspec
import pytest

from ambimesh.kube import core, istio
from ambimesh.kube.meta import Part, Resource
from ambimesh.local.apiserver.types.kinds import (
    ASKED,
    BODIES,
    KINDS,
    SUBRESOURCES,
    Kind,
    by_kind,
    by_path,
)
from ambimesh.local.apiserver.types.language import Struct

SERVED = {
    "v1": "ConfigMap Event LimitRange Namespace Node Pod ReplicationController ResourceQuota"
    " Secret Service ServiceAccount",
    "apps/v1": "Deployment ReplicaSet",
    "coordination.k8s.io/v1": "Lease",
    "discovery.k8s.io/v1": "EndpointSlice",
    "extensions.istio.io/v1alpha1": "WasmPlugin",
    "gateway.networking.k8s.io/v1": "GRPCRoute Gateway GatewayClass HTTPRoute ReferenceGrant"
    " TCPRoute TLSRoute",
    "gateway.networking.k8s.io/v1alpha2": "TCPRoute TLSRoute",
    "gateway.networking.k8s.io/v1alpha3": "TLSRoute",
    "gateway.networking.k8s.io/v1beta1": "Gateway GatewayClass HTTPRoute ReferenceGrant",
    "networking.istio.io/v1": "DestinationRule ServiceEntry VirtualService WorkloadEntry",
    "networking.istio.io/v1alpha3": "DestinationRule ServiceEntry VirtualService WorkloadEntry",
    "networking.istio.io/v1beta1": "DestinationRule ServiceEntry VirtualService WorkloadEntry",
    "security.istio.io/v1": "AuthorizationPolicy PeerAuthentication RequestAuthentication",
    "security.istio.io/v1beta1": "AuthorizationPolicy PeerAuthentication RequestAuthentication",
    "telemetry.istio.io/v1": "Telemetry",
    "telemetry.istio.io/v1alpha1": "Telemetry",
}


def test_kinds_are_served_in_all_their_versions() -> None:
    """What the documentation promises is what is registered."""
    served: dict[str, list[str]] = {}
    for kind in KINDS:
        served.setdefault(kind.api_version, []).append(kind.kind)

    assert {version: " ".join(sorted(kinds)) for version, kinds in served.items()} == SERVED


def test_kinds_are_found_by_path_and_by_kind() -> None:
    """Both ways lead to the same row; what is not there is nothing."""
    for kind in (*KINDS, *ASKED):
        assert by_path(kind.group, kind.version, kind.plural) is kind
        assert by_kind(kind.api_version, kind.kind) is kind
    assert by_kind("autoscaling/v1", "Scale") in BODIES
    assert by_path("apps", "v1", "pods") is None
    assert by_kind("v1", "Deployment") is None


def test_short_names_are_unique() -> None:
    """Kubectl must not have to guess."""
    names = Counter(
        name
        for resource in {kind.resource: kind for kind in KINDS}.values()
        for name in (resource.plural, resource.singular, *resource.short_names)
    )
    twice = {name for name, count in names.items() if count > 1}
    assert twice == {"telemetry"}  # the short name is the singular, as in Istio's own CRD


def test_subresources_are_described() -> None:
    """Discovery needs verbs and kinds of all subresources."""
    assert {name for kind in KINDS for name in kind.subresources} <= SUBRESOURCES.keys()
    assert SUBRESOURCES["scale"].kind == "Scale"


def test_versions_of_a_kind_share_their_fields() -> None:
    """One stored object is served in several versions, so it has one type."""
    schemas: dict[str, Struct] = {}
    for kind in KINDS:
        assert schemas.setdefault(kind.resource, kind.schema) is kind.schema


READ_BY_THE_CONTROL_PLANE = [
    resource
    for module in (core, istio)
    for resource in vars(module).values()
    if isinstance(resource, type) and issubclass(resource, Resource) and resource is not Resource
]


@pytest.mark.parametrize("resource", READ_BY_THE_CONTROL_PLANE)
def test_fields_that_the_control_plane_reads_are_in_the_table(resource: type[Resource]) -> None:
    """A field that one side knows and the other does not would be reported as unknown."""
    read = resource.KIND
    kind = by_path(read.group, read.version, read.plural)
    assert kind is not None, read
    _assert_known(resource, kind.schema, kind.kind)


def _assert_known(part: type[msgspec.Struct], schema: Struct, path: str) -> None:
    for name in part.__struct_encode_fields__:
        assert name in schema.fields, f"{path}.{name}"
        inner, type_ = part.__annotations__.get(name), schema.fields[name].type
        if isinstance(inner, type) and issubclass(inner, Part) and isinstance(type_, Struct):
            _assert_known(inner, type_, f"{path}.{name}")


def test_kind_names_itself_as_discovery_does() -> None:
    """Derived names follow Kubernetes' habits."""
    deployment = by_path("apps", "v1", "deployments")
    assert isinstance(deployment, Kind)
    assert (deployment.api_version, deployment.resource) == ("apps/v1", "deployments.apps")
    assert (deployment.singular, deployment.list_kind) == ("deployment", "DeploymentList")
