"""Every resource there is, by type, and the names it can be asked for by."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from ambimesh.model.names import ResourceName
from ambimesh.wire.resources import ADDRESS_TYPE, AUTHORIZATION_TYPE, Resource

# In the order of pushes. A workload that lists a policy its node proxy does not know yet would
# for a moment be without it, so policies come first, where Istio sends them last.
TYPES: Final = (AUTHORIZATION_TYPE, ADDRESS_TYPE)


class ResourceStore:
    """The resources that sessions send. One writer; sessions read between its updates."""

    def __init__(self, *, epoch: str) -> None:
        """``epoch`` tells this process from others in the versions of its responses."""
        self._epoch = epoch
        self._generation = 0
        self._resources: dict[str, dict[ResourceName, Resource]] = {type_: {} for type_ in TYPES}
        self._by_key: defaultdict[str, set[ResourceName]] = defaultdict(set)  # addresses only

    @property
    def version(self) -> str:
        """The version of the whole, for people: it grows with each update."""
        return f"{self._epoch}/{self._generation}"

    def resources(self, type_url: str) -> Mapping[ResourceName, Resource]:
        """Give every resource of a type; of an unknown type there are none."""
        return self._resources.get(type_url, {})

    def update(self, type_url: str, changes: Mapping[ResourceName, Resource | None]) -> None:
        """Take what changed; ``None`` for what is gone."""
        resources = self._resources[type_url]
        self._generation += 1
        for name, resource in changes.items():
            old = resources.pop(name, None)
            if old is not None and type_url == ADDRESS_TYPE:
                self._forget(old)
            if resource is not None:
                resources[name] = resource
                if type_url == ADDRESS_TYPE:
                    self._remember(resource)

    def lookup(self, type_url: str, key: str) -> set[ResourceName]:
        """Find the resources that a subscriber means by ``key``.

        Addresses are found by uid, ``<namespace>/<hostname>`` or ``<network>/<ip>``, a service
        with all its workloads; others by name. Source: spec/control-plane.md §3.12.
        """
        if type_url != ADDRESS_TYPE:
            name = ResourceName(key)
            return {name} if name in self.resources(type_url) else set()
        direct = self._by_key.get(key, set())
        members = (self._by_key.get(f"{_MEMBERS}{name}", ()) for name in direct)
        return direct.union(*members)

    def _remember(self, resource: Resource) -> None:
        for key in _keys(resource):
            self._by_key[key].add(resource.name)

    def _forget(self, resource: Resource) -> None:
        for key in _keys(resource):
            names = self._by_key[key]
            names.discard(resource.name)
            if not names:
                del self._by_key[key]


_MEMBERS: Final = "members of "  # no key that a client may ask for begins so: none has a space


def _keys(resource: Resource) -> Iterable[str]:
    yield resource.name
    yield from resource.aliases
    yield from (f"{_MEMBERS}{service}" for service in resource.services)
