"""The mesh as it is now, compiled anew only where a change reaches.

Feed it objects as they come, then take what changed. Whatever the order and the number of
steps, the result is that of compiling the same objects from nothing.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ambimesh.compile.condition import Verdict
from ambimesh.compile.hostnames import ServiceBook, entry_selector
from ambimesh.compile.policies import Affected, ObjectName, PolicyBook
from ambimesh.compile.selection import LabelIndex, Labels
from ambimesh.compile.service_entries import (
    compile_workload_entry,
    entry_endpoints,
    workload_entry_labels,
    workload_entry_ports,
)
from ambimesh.compile.services import TRAFFIC_DISTRIBUTION
from ambimesh.compile.table import Table
from ambimesh.compile.waypoints import binding_labels
from ambimesh.compile.workloads import (
    SERVICE_NAME,
    compile_endpoints,
    compile_pod,
    entry_ports,
    pod_ports,
)
from ambimesh.kube.core import EndpointSlice, Namespace, Node, Pod, Service
from ambimesh.kube.istio import (
    AuthorizationPolicy,
    PeerAuthentication,
    ServiceEntry,
    WorkloadEntry,
)
from ambimesh.kube.meta import Resource
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import ResourceName, ServiceKey, service_key
from ambimesh.model.policy import Authorization
from ambimesh.model.workload import Address, Port, Workload

Key = tuple[str, str]  # (namespace, name)
Unit = tuple[type[Resource], Key]  # what workloads are compiled from

INPUTS: Final[tuple[type[Resource], ...]] = (
    Namespace,
    Node,
    Service,
    ServiceEntry,
    EndpointSlice,
    AuthorizationPolicy,
    PeerAuthentication,
    WorkloadEntry,
    Pod,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What differs from the last time; ``None`` for what is gone."""

    addresses: Mapping[ResourceName, Address | None]
    authorizations: Mapping[ResourceName, Authorization | None]
    verdicts: Mapping[ObjectName, Verdict | None]

    def __bool__(self) -> bool:
        return bool(self.addresses or self.authorizations or self.verdicts)


class MeshCompiler:
    """Compiles the objects of a cluster; pure apart from its own memory."""

    def __init__(self, mesh: Mesh) -> None:
        self.addresses: Table[ResourceName, Address] = Table()
        self._mesh = mesh
        self._policies = PolicyBook(mesh)
        self._hostnames = ServiceBook(mesh, self.addresses)
        self._namespaces: dict[str, Namespace] = {}
        self._nodes: dict[str, Node] = {}
        self._objects: dict[Unit, Any] = {}  # pods, slices, workload entries
        self._labelled: LabelIndex[Unit] = LabelIndex()  # what policies and services select
        self._pods_of_node: defaultdict[str, set[Key]] = defaultdict(set)
        self._slices_of_service: defaultdict[Key, set[Key]] = defaultdict(set)
        self._slices_of_pod: defaultdict[Key, set[Key]] = defaultdict(set)
        self._dirty: set[Unit] = set()
        self._put: Mapping[type[Resource], Callable[[Key, Any], None]] = {
            Namespace: self._put_namespace,
            Node: self._put_node,
            Service: self._put_service,
            ServiceEntry: self._put_entry,
            EndpointSlice: self._put_slice,
            AuthorizationPolicy: self._put_authorization,
            PeerAuthentication: self._put_peer_authentication,
            WorkloadEntry: self._put_workload_entry,
            Pod: self._put_pod,
        }

    @property
    def authorizations(self) -> Mapping[ResourceName, Authorization]:
        """Every policy there is."""
        return self._policies.table.values

    @property
    def verdicts(self) -> Mapping[ObjectName, Verdict]:
        """What there is to say about every policy object."""
        return self._policies.verdicts.values

    def put(self, kind: type[Resource], key: Key, item: Resource | None) -> None:
        """Take an object as it is now; ``None``: it is gone. ``kind`` is one of ``INPUTS``."""
        self._put[kind](key, item)

    def take(self) -> Delta:
        """Compile what changes reached, and give what came out differently."""
        for key in self._hostnames.settle():
            self._touch_entry(key)
        units, self._dirty = self._dirty, set()
        for unit in units:
            workloads = self._compile(unit)
            self.addresses.replace(unit, [(w.resource_name, w) for w in workloads])
        return Delta(
            addresses=self.addresses.take_changes(),
            authorizations=self._policies.table.take_changes(),
            verdicts=self._policies.verdicts.take_changes(),
        )

    # Changes, by kind: note what to compile again.

    def _put_namespace(self, key: Key, item: Namespace | None) -> None:
        name = key[1]
        old = self._namespaces.pop(name, None)
        if item is not None:
            self._namespaces[name] = item
        if binding_labels(old) != binding_labels(item):
            self._dirty |= self._labelled.selected(name, {})
        elif _distribution(old) == _distribution(item):
            return
        for service_name, service in tuple(self._hostnames.services.items()):
            if service_name[0] == name:
                self._hostnames.put_service(service_name, service, item)
        for entry_name, entry in tuple(self._hostnames.entries.items()):
            if entry_name[0] == name:
                self._hostnames.put_entry(entry_name, entry, item)

    def _put_node(self, key: Key, item: Node | None) -> None:
        name = key[1]
        old = self._nodes.pop(name, None)
        if item is not None:
            self._nodes[name] = item
        before = old.metadata.labels if old else {}
        after = item.metadata.labels if item else {}
        if before != after:
            self._dirty.update((Pod, pod) for pod in self._pods_of_node.get(name, ()))

    def _put_service(self, key: Key, item: Service | None) -> None:
        old = self._hostnames.services.get(key)
        self._hostnames.put_service(key, item, self._namespaces.get(key[0]))
        if old is not None and item is not None and old.spec == item.spec:
            return
        self._touch_selected(key[0], old.spec.selector if old else {})
        self._touch_selected(key[0], item.spec.selector if item else {})
        for slice_name in self._slices_of_service.get(key, ()):
            self._touch_slice(slice_name)

    def _put_entry(self, key: Key, item: ServiceEntry | None) -> None:
        self._touch_entry(key)
        self._hostnames.put_entry(key, item, self._namespaces.get(key[0]))
        self._touch_entry(key)
        unit: Unit = (ServiceEntry, key)
        if item is not None:  # its endpoints have its labels
            self._labelled.put(unit, key[0], item.metadata.labels)
        else:
            self._labelled.remove(unit)

    def _put_slice(self, key: Key, item: EndpointSlice | None) -> None:
        unit: Unit = (EndpointSlice, key)
        old: EndpointSlice | None = self._objects.pop(unit, None)
        if old is not None:
            self._objects[unit] = old
            self._touch_slice(key)
            self._slices_of_service[service_of(old)].discard(key)
            for pod in _pods_of(old):
                self._slices_of_pod[pod].discard(key)
            del self._objects[unit]
        if item is not None:
            self._objects[unit] = item
            self._slices_of_service[service_of(item)].add(key)
            for pod in _pods_of(item):
                self._slices_of_pod[pod].add(key)
            self._touch_slice(key)
        self._dirty.add(unit)

    def _put_authorization(self, key: Key, item: AuthorizationPolicy | None) -> None:
        for affected in self._policies.put_authorization(key, item):
            self._touch_affected(affected)

    def _put_peer_authentication(self, key: Key, item: PeerAuthentication | None) -> None:
        for affected in self._policies.put_peer_authentication(key, item):
            self._touch_affected(affected)

    def _put_workload_entry(self, key: Key, item: WorkloadEntry | None) -> None:
        self._store((WorkloadEntry, key), item, workload_entry_labels(item) if item else {})

    def _put_pod(self, key: Key, item: Pod | None) -> None:
        old: Pod | None = self._objects.get((Pod, key))
        if old is not None:
            self._pods_of_node[old.spec.node_name].discard(key)
        if item is not None:
            self._pods_of_node[item.spec.node_name].add(key)
        self._store((Pod, key), item, item.metadata.labels if item else {})

    def _store(self, unit: Unit, item: Resource | None, labels: Labels) -> None:
        if item is None:
            self._objects.pop(unit, None)
            self._labelled.remove(unit)
        else:
            self._objects[unit] = item
            self._labelled.put(unit, unit[1][0], labels)
        self._dirty.add(unit)

    # What a change reaches.

    def _touch_selected(self, namespace: str, selector: Labels) -> None:
        if selector:
            self._dirty |= self._labelled.selected(namespace, selector)

    def _touch_affected(self, affected: Affected) -> None:
        if affected.namespace is None:
            self._dirty |= self._labelled.selected_anywhere(affected.selector)
        else:
            self._dirty |= self._labelled.selected(affected.namespace, affected.selector)

    def _touch_entry(self, key: Key) -> None:
        self._dirty.add((ServiceEntry, key))
        self._touch_selected(key[0], entry_selector(self._hostnames.entries.get(key)))

    def _touch_slice(self, key: Key) -> None:
        unit: Unit = (EndpointSlice, key)
        self._dirty.add(unit)
        self._dirty.update((Pod, pod) for pod in _pods_of(self._objects[unit]))

    # Compiling one unit.

    def _compile(self, unit: Unit) -> tuple[Workload, ...]:
        kind, key = unit
        if kind is ServiceEntry:
            return self._compile_entry(key)
        item = self._objects.get(unit)
        if item is None:
            return ()
        if kind is EndpointSlice:
            service = self._hostnames.services.get(service_of(item))
            return compile_endpoints(item, service, self._mesh)
        workload = self._compile_pod(item) if kind is Pod else self._compile_workload_entry(item)
        return (workload,) if workload is not None else ()

    def _compile_pod(self, pod: Pod) -> Workload | None:
        namespace, labels = pod.metadata.namespace, pod.metadata.labels
        services = [*self._hostnames.services_selecting(namespace, labels)]
        services += self._services_listing(pod)
        found: dict[ServiceKey, tuple[Port, ...]] = pod_ports(pod, services, self._mesh)
        for entry in self._hostnames.entries_selecting(namespace, labels):
            ports = entry_ports(pod, entry)
            for host in self._hostnames.won(entry.key):
                found[service_key(namespace, host)] = ports
        return compile_pod(
            pod,
            self._mesh,
            services=found,
            policies=self._policies.listed(namespace, labels),
            node=self._nodes.get(pod.spec.node_name),
            namespace=self._namespaces.get(namespace),
        )

    def _services_listing(self, pod: Pod) -> list[Service]:
        """Give the services without a selector whose slices name this very pod."""
        found = []
        for slice_name in sorted(self._slices_of_pod.get(pod.key, ())):
            item: EndpointSlice = self._objects[EndpointSlice, slice_name]
            service = self._hostnames.services.get(service_of(item))
            if service is None or service.spec.selector or service.spec.type == "ExternalName":
                continue
            references = (endpoint.target_ref for endpoint in item.endpoints)
            if any(r is not None and r.uid == pod.metadata.uid for r in references):
                found.append(service)
        return found

    def _compile_workload_entry(self, item: WorkloadEntry) -> Workload | None:
        namespace, labels = item.metadata.namespace, workload_entry_labels(item)
        services = workload_entry_ports(
            item,
            self._hostnames.services_selecting(namespace, labels),
            (
                (entry, self._hostnames.won(entry.key))
                for entry in self._hostnames.entries_selecting(namespace, labels)
            ),
            self._mesh,
        )
        policies = self._policies.listed(namespace, labels)
        return compile_workload_entry(
            item,
            self._mesh,
            services=services,
            policies=policies,
            namespace=self._namespaces.get(namespace),
        )

    def _compile_entry(self, key: Key) -> tuple[Workload, ...]:
        entry = self._hostnames.entries.get(key)
        if entry is None:
            return ()
        policies = self._policies.listed(key[0], entry.metadata.labels)
        return entry_endpoints(entry, self._hostnames.won(key), self._mesh, policies)


def service_of(item: EndpointSlice) -> Key:
    """Name the service that a slice belongs to."""
    return (item.metadata.namespace, item.metadata.labels.get(SERVICE_NAME, ""))


def _pods_of(item: EndpointSlice) -> set[Key]:
    namespace = item.metadata.namespace
    references = (endpoint.target_ref for endpoint in item.endpoints)
    return {(namespace, r.name) for r in references if r is not None and r.kind == "Pod"}


def _distribution(namespace: Namespace | None) -> str:
    return namespace.metadata.annotations.get(TRAFFIC_DISTRIBUTION, "") if namespace else ""
