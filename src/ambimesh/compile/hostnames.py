"""Every service of the mesh: who is a hostname, and which services select a workload."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from ambimesh.compile.selection import Labels, SelectorIndex
from ambimesh.compile.service_entries import Claim, compile_service_entry, winners
from ambimesh.compile.services import compile_service
from ambimesh.compile.table import Table
from ambimesh.kube.core import Namespace, Service
from ambimesh.kube.istio import ServiceEntry
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import ResourceName
from ambimesh.model.workload import Address

Key = tuple[str, str]  # (namespace, name)
Origin = tuple[type[Service | ServiceEntry], Key]


class ServiceBook:
    """Services and service entries as they are now.

    Two objects may claim one hostname. ``settle`` decides, and must be called before winners
    are asked for.
    """

    def __init__(self, mesh: Mesh, table: Table[ResourceName, Address]) -> None:
        self.services: dict[Key, Service] = {}
        self.entries: dict[Key, ServiceEntry] = {}
        self._mesh = mesh
        self._table = table
        self._selectors: SelectorIndex[Origin] = SelectorIndex()
        self._claims: defaultdict[str, dict[Origin, Claim]] = defaultdict(dict)
        self._hosts: dict[Origin, frozenset[str]] = {}  # claimed
        self._winners: dict[str, frozenset[Origin]] = {}  # by hostname
        self._open: set[str] = set()  # hostnames to decide

    def put_service(self, key: Key, service: Service | None, namespace: Namespace | None) -> None:
        """Take a Kubernetes Service as it is now, or take it away."""
        origin: Origin = (Service, key)
        claims = []
        if service is None:
            self.services.pop(key, None)
        else:
            self.services[key] = service
            compiled = compile_service(service, namespace, self._mesh)
            if compiled is not None:
                claims.append(
                    Claim(service=compiled, from_kubernetes=True, age_key=service.age_key)
                )
        self._select(origin, service.spec.selector if service is not None else {})
        self._claim(origin, claims)

    def put_entry(self, key: Key, entry: ServiceEntry | None, namespace: Namespace | None) -> None:
        """Take a ServiceEntry as it is now, or take it away."""
        origin: Origin = (ServiceEntry, key)
        claims = []
        if entry is None:
            self.entries.pop(key, None)
        else:
            self.entries[key] = entry
            claims = [
                Claim(service=service, from_kubernetes=False, age_key=entry.age_key)
                for service in compile_service_entry(entry, namespace, self._mesh)
            ]
        self._select(origin, entry_selector(entry))
        self._claim(origin, claims)

    def settle(self) -> set[Key]:
        """Decide about the hostnames that were claimed or given up.

        Returns: the service entries that won or lost a hostname.
        """
        touched: set[Key] = set()
        hostnames, self._open = self._open, set()
        for hostname in hostnames:
            claims = self._claims.get(hostname, {})
            services = winners(claims)
            self._table.replace(hostname, [(s.resource_name, s) for s in services.values()])
            won, lost = frozenset(services), self._winners.pop(hostname, frozenset())
            touched |= {key for kind, key in won ^ lost if kind is ServiceEntry}
            if won:
                self._winners[hostname] = won
            else:
                self._claims.pop(hostname, None)
        return touched

    def won(self, key: Key) -> frozenset[str]:
        """Give the hostnames that a service entry speaks for."""
        origin: Origin = (ServiceEntry, key)
        claimed = self._hosts.get(origin, frozenset())
        return frozenset(host for host in claimed if origin in self._winners.get(host, ()))

    def services_selecting(self, namespace: str, labels: Labels) -> Iterator[Service]:
        """Give the Kubernetes Services that select a workload with ``labels``."""
        for kind, key in self._selectors.selecting(namespace, labels):
            if kind is Service and self.services[key].spec.type != "ExternalName":
                yield self.services[key]

    def entries_selecting(self, namespace: str, labels: Labels) -> Iterator[ServiceEntry]:
        """Give the service entries that select a workload with ``labels``."""
        for kind, key in self._selectors.selecting(namespace, labels):
            if kind is ServiceEntry:
                yield self.entries[key]

    def _select(self, origin: Origin, selector: Labels) -> None:
        if selector:  # an empty selector of a service selects nothing
            self._selectors.put(origin, origin[1][0], selector)
        else:
            self._selectors.remove(origin)

    def _claim(self, origin: Origin, claims: Iterable[Claim]) -> None:
        by_hostname = {claim.service.hostname: claim for claim in claims}
        for hostname in self._hosts.pop(origin, frozenset()) - by_hostname.keys():
            del self._claims[hostname][origin]
            self._open.add(hostname)
        for hostname, claim in by_hostname.items():
            if self._claims[hostname].get(origin) != claim:
                self._claims[hostname][origin] = claim
                self._open.add(hostname)
        if by_hostname:
            self._hosts[origin] = frozenset(by_hostname)


def entry_selector(entry: ServiceEntry | None) -> Labels:
    """Give the labels that a service entry selects; none selects nothing."""
    if entry is None or entry.spec.workload_selector is None:
        return {}
    return entry.spec.workload_selector.labels
