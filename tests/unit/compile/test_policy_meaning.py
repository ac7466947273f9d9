"""Compiled policies decide as the manifests mean."""

from collections.abc import Iterator
from itertools import product
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
from support.policy_reference import Connection, Destination, Policies, is_allowed, is_strict
from support.policy_strategies import (
    connections,
    destinations,
    policies,
)


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


@settings(max_examples=400, deadline=None)
@given(policies, destinations, connections)
def test_compiled_policies_decide_as_the_manifests_mean(
    found: Policies, destination: Destination, connection: Connection
) -> None:
    """For any policies and any connection, the node proxy's verdict is the reference's."""
    compiler, workload = compiled(found, destination)

    verdict = is_admitted(compiler.authorizations.values(), workload, connection)

    assert verdict == is_allowed(found, destination, connection)


def peer_authentication(namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Make a manifest."""
    return {
        "metadata": {"name": "p" if "selector" in spec else "q", "namespace": namespace},
        "spec": spec,
    }


def every_combination() -> Iterator[Policies]:
    """Give every way modes of mesh, namespace, workload and two ports can combine."""
    whole = [None, "UNSET", "PERMISSIVE", "STRICT"]
    single = [*whole, "DISABLE"]
    for mesh, namespace, workload, one, two in product(whole, whole, single, single, single):
        ports = {p: {"mode": mode} for p, mode in (("80", one), ("8080", two)) if mode}
        spec: dict[str, Any] = {"selector": {"matchLabels": {"app": "x"}}, "portLevelMtls": ports}
        if workload:
            spec["mtls"] = {"mode": workload}
        found = [peer_authentication("one", spec)]
        found += [peer_authentication("istio-system", {"mtls": {"mode": mesh}})] if mesh else []
        found += [peer_authentication("one", {"mtls": {"mode": namespace}})] if namespace else []
        yield Policies(peer_authentication=tuple(found))


def test_compiled_modes_refuse_plaintext_where_the_manifests_say() -> None:
    """Modes of mesh, namespace, workload and port combine as documented: the whole table."""
    destination = Destination(namespace="one", labels={"app": "x"})
    for found in every_combination():
        compiler, workload = compiled(found, destination)
        for port in (80, 8080, 9090):
            connection = Connection(
                source=None, source_ip="10.0.0.1", destination_ip="10.9.9.9", port=port
            )
            verdict = is_admitted(compiler.authorizations.values(), workload, connection)
            assert verdict == (not is_strict(found, destination, port)), (found, port)
