"""Compiled policies decide as the manifests mean."""

from typing import Any

import msgspec
from hypothesis import given, settings

from ambimesh.compile.incremental import MeshCompiler
from ambimesh.kube.objects import (
    AuthorizationPolicy,
    Metadata,
    PeerAuthentication,
    Pod,
    PodAddress,
    PodStatus,
    Resource,
)
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import ResourceName
from ambimesh.model.workload import Workload
from support.policy_matcher import is_admitted
from support.policy_reference import Connection, Destination, Policies, is_allowed
from support.policy_strategies import connections, destinations, policies


def put(compiler: MeshCompiler, kind: type[Resource], manifest: dict[str, Any]) -> None:
    """Give a manifest to a compiler."""
    item = msgspec.convert(manifest, kind)
    compiler.put(kind, item.key, item)


def compiled(found: Policies, destination: Destination) -> tuple[MeshCompiler, Workload]:
    """Compile policies and one pod."""
    compiler = MeshCompiler(Mesh())
    for manifest in found.authorization:
        put(compiler, AuthorizationPolicy, dict(manifest))
    for manifest in found.peer_authentication:
        put(compiler, PeerAuthentication, dict(manifest))
    pod = Pod(
        metadata=Metadata(name="p", namespace=destination.namespace, labels=destination.labels),
        status=PodStatus(phase="Running", pod_ips=(PodAddress(ip="10.9.9.9"),)),
    )
    compiler.put(Pod, pod.key, pod)
    compiler.take()
    workload = compiler.addresses.values[ResourceName(f"Kubernetes//Pod/{destination.namespace}/p")]
    assert isinstance(workload, Workload)
    return compiler, workload


@settings(max_examples=1500, deadline=None)
@given(policies, destinations, connections)
def test_compiled_policies_decide_as_the_manifests_mean(
    found: Policies, destination: Destination, connection: Connection
) -> None:
    """For any policies and any connection, the node proxy's verdict is the reference's."""
    compiler, workload = compiled(found, destination)

    verdict = is_admitted(compiler.authorizations.values(), workload, connection)

    assert verdict == is_allowed(found, destination, connection)
