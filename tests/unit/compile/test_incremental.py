"""Whatever the order of changes, the result is that of compiling from nothing."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from ambimesh.compile.incremental import INPUTS, Delta, MeshCompiler
from ambimesh.kube.core import (
    Container,
    ContainerPort,
    Endpoint,
    EndpointPort,
    EndpointSlice,
    Namespace,
    Node,
    ObjectReference,
    Pod,
    PodAddress,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from ambimesh.kube.istio import (
    AuthorizationPolicy,
    PeerAuthentication,
    ServiceEntry,
    ServiceEntryPort,
    ServiceEntrySpec,
    WorkloadEntry,
    WorkloadEntrySpec,
    WorkloadSelector,
)
from ambimesh.kube.meta import Metadata, Resource
from ambimesh.model.mesh import Mesh
from support.policy_strategies import authorization_policies, labels, peer_authentications

NAMESPACES = st.sampled_from(("one", "one", "one", "one", "two", "istio-system"))
NAMES = st.sampled_from("ab")
ADDRESSES = st.sampled_from(("10.0.0.1", "10.0.0.2", "fd00::1"))
NODES = st.sampled_from(("n1", "n2"))


def metadata(**fields: Any) -> st.SearchStrategy[Metadata]:
    """Make metadata of namespaced objects."""
    return st.builds(
        Metadata,
        name=NAMES,
        namespace=NAMESPACES,
        uid=st.sampled_from(("u1", "u2")),
        creation_timestamp=st.sampled_from(("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")),
        **fields,
    )


pods = st.builds(
    Pod,
    metadata=metadata(labels=labels),
    spec=st.builds(
        PodSpec,
        node_name=NODES,
        containers=st.just((Container(ports=(ContainerPort(name="web", container_port=8080),)),)),
    ),
    status=st.builds(
        PodStatus,
        phase=st.sampled_from(("Running", "Succeeded")),
        pod_ips=st.lists(st.builds(PodAddress, ip=ADDRESSES), max_size=1).map(tuple),
    ),
)
services = st.builds(
    Service,
    metadata=metadata(),
    spec=st.builds(
        ServiceSpec,
        type=st.sampled_from(("ClusterIP", "ExternalName")),
        cluster_ip=st.sampled_from(("10.9.0.1", "None", "bad")),
        selector=labels,
        ports=st.sampled_from(
            ((ServicePort(port=80, target_port="web"),), (ServicePort(port=81),))
        ),
    ),
)
references = st.builds(
    ObjectReference, kind=st.just("Pod"), name=NAMES, uid=st.sampled_from(("u1", "u2"))
)
slices = st.builds(
    EndpointSlice,
    metadata=metadata(labels=st.builds(lambda name: {"kubernetes.io/service-name": name}, NAMES)),
    address_type=st.just("IPv4"),
    endpoints=st.lists(
        st.builds(
            Endpoint,
            addresses=ADDRESSES.map(lambda ip: (ip,)),
            target_ref=st.none() | references,
        ),
        max_size=2,
    ).map(tuple),
    ports=st.just((EndpointPort(port=8080),)),
)
nodes = st.builds(
    Node,
    metadata=st.builds(
        Metadata,
        name=NODES,
        labels=st.builds(lambda z: {"topology.kubernetes.io/zone": z}, st.sampled_from("xy")),
    ),
)
namespaces = st.builds(
    Namespace,
    metadata=st.builds(
        Metadata,
        name=NAMESPACES,
        labels=st.sampled_from(({}, {"istio.io/use-waypoint": "w"})),
        annotations=st.sampled_from(
            ({}, {"networking.istio.io/traffic-distribution": "PreferClose"})
        ),
    ),
)
entries = st.builds(
    ServiceEntry,
    metadata=metadata(labels=labels),
    spec=st.builds(
        ServiceEntrySpec,
        hosts=st.lists(
            st.sampled_from(("x.example", "y.example", "a.one.svc.cluster.local")),
            min_size=1,
            max_size=2,
        ).map(tuple),
        resolution=st.sampled_from(("NONE", "DNS", "STATIC")),
        ports=st.just((ServiceEntryPort(number=443, name="web"),)),
        endpoints=st.lists(st.builds(WorkloadEntrySpec, address=ADDRESSES), max_size=1).map(tuple),
        workload_selector=st.none() | st.builds(WorkloadSelector, labels=labels),
    ),
)
workload_entries = st.builds(
    WorkloadEntry,
    metadata=metadata(labels=labels),
    spec=st.builds(WorkloadEntrySpec, address=ADDRESSES | st.just("vm.example")),
)
objects: st.SearchStrategy[Resource] = st.one_of(
    pods,
    pods,
    services,
    slices,
    nodes,
    namespaces,
    entries,
    workload_entries,
    authorization_policies.map(lambda m: msgspec.convert(m, AuthorizationPolicy)),
    peer_authentications.map(lambda m: msgspec.convert(m, PeerAuthentication)),
)
steps = st.lists(
    st.tuples(objects, st.sampled_from(("put", "put", "remove")), st.booleans()), max_size=12
)


APP = {"app": "x"}


def world() -> list[Resource]:
    """Make a mesh in which everything depends on everything it can; changes start from here."""
    one = Metadata(name="a", namespace="one", uid="u1", labels=APP)
    web = (Container(ports=(ContainerPort(name="web", container_port=8080),)),)
    status = PodStatus(phase="Running", pod_ips=(PodAddress(ip="10.0.0.1"),))
    listed = Endpoint(
        addresses=("10.0.0.1",), target_ref=ObjectReference(kind="Pod", name="a", uid="u1")
    )
    named = ServicePort(port=80, target_port="web")
    return [
        Namespace(metadata=Metadata(name="one")),
        Node(metadata=Metadata(name="n1")),
        Pod(metadata=one, spec=PodSpec(node_name="n1", containers=web), status=status),
        Service(
            metadata=Metadata(name="a", namespace="one"),
            spec=ServiceSpec(cluster_ip="10.9.0.1", selector=APP, ports=(named,)),
        ),
        Service(
            metadata=Metadata(name="b", namespace="one"),
            spec=ServiceSpec(cluster_ip="10.9.0.2", ports=(named,)),
        ),
        EndpointSlice(
            metadata=Metadata(
                name="b", namespace="one", labels={"kubernetes.io/service-name": "b"}
            ),
            address_type="IPv4",
            endpoints=(listed, Endpoint(addresses=("10.0.0.2",))),
            ports=(EndpointPort(port=8080),),
        ),
        ServiceEntry(
            metadata=Metadata(name="a", namespace="one", labels=APP, creation_timestamp="2026"),
            spec=ServiceEntrySpec(
                hosts=("x.example", "y.example"),
                resolution="STATIC",
                ports=(ServiceEntryPort(number=443, name="web"),),
                workload_selector=WorkloadSelector(labels=APP),
                endpoints=(WorkloadEntrySpec(address="10.0.0.3"),),
            ),
        ),
        WorkloadEntry(metadata=one, spec=WorkloadEntrySpec(address="10.0.0.4")),
    ]


def apply(table: dict[Any, Any], changes: Any) -> None:
    """Apply one table of a delta."""
    for name, value in changes.items():
        if value is None:
            del table[name]
        else:
            assert table.get(name) != value, "a delta names what did not change"
            table[name] = value


@settings(max_examples=300, deadline=None)
@given(steps)
def test_incremental_result_is_that_of_compiling_from_nothing(
    found: list[tuple[Resource, str, bool]],
) -> None:
    """For any sequence of changes, taken at any moments, tables and deltas are right."""
    incremental = MeshCompiler(Mesh())
    present: dict[tuple[type[Resource], tuple[str, str]], Resource] = {}
    tables: tuple[dict[Any, Any], ...] = ({}, {}, {})

    def take() -> None:
        delta: Delta = incremental.take()
        for table, changes in zip(
            tables, (delta.addresses, delta.authorizations, delta.verdicts), strict=True
        ):
            apply(table, changes)

    for item, action, taken in [*((item, "put", False) for item in world()), *found]:
        unit = (type(item), item.key)
        if action == "put":
            present[unit] = item
        else:
            present.pop(unit, None)
        incremental.put(*unit, present.get(unit))
        if taken:
            take()
    take()

    fresh = MeshCompiler(Mesh())
    for kind in INPUTS:
        for (other, key), item in present.items():
            if other is kind:
                fresh.put(kind, key, item)
    fresh.take()
    assert incremental.addresses.values == fresh.addresses.values
    assert incremental.authorizations == fresh.authorizations
    assert incremental.verdicts == fresh.verdicts
    assert tables == (fresh.addresses.values, fresh.authorizations, fresh.verdicts)


def test_change_that_reaches_nothing_gives_an_empty_delta() -> None:
    """A new version of an object whose meaning is the same is no change."""
    compiler = MeshCompiler(Mesh())
    pod = Pod(
        metadata=Metadata(name="p", namespace="one", resource_version="1"),
        status=PodStatus(phase="Running", pod_ips=(PodAddress(ip="10.0.0.1"),)),
    )
    compiler.put(Pod, pod.key, pod)
    assert compiler.take()

    newer = msgspec.structs.replace(
        pod, metadata=msgspec.structs.replace(pod.metadata, resource_version="2")
    )
    compiler.put(Pod, pod.key, newer)

    assert not compiler.take()
