"""Keeps the EndpointSlices of Services as their selectors and pods say."""

from collections.abc import Iterable, Iterator

from ambimesh.local.apiserver.builtin import PODS, SERVICES, SLICES
from ambimesh.local.apiserver.controllers.endpoints import (
    MANAGED_BY,
    MANAGER,
    SERVICE_NAME,
    slices_of,
)
from ambimesh.local.apiserver.objects.options import DeleteOptions, WriteOptions
from ambimesh.local.apiserver.objects.registry import Change, Registry
from ambimesh.local.apiserver.selectors import LabelSelector, from_map
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import Entry, Event, JsonObject, Key

_MANAGER = WriteOptions(manager="ambimesh-endpointslices")


class Slices:
    """Reconciles one Service at a time; slices that others manage are left alone."""

    resources = (SERVICES.resource, PODS.resource, SLICES.resource)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._selectors: dict[Key, tuple[int, LabelSelector | None]] = {}

    def concerned(self, resource: str, event: Event) -> Iterable[Key]:
        """Look at a Service when it, one of its pods or one of its slices changes."""
        entry = event.entry
        if resource == SERVICES.resource:
            yield entry.key
        elif resource == PODS.resource:
            yield from self._selecting(entry, event.old)
        elif entry.labels.get(MANAGED_BY) == MANAGER:
            yield Key(entry.key.namespace, entry.labels.get(SERVICE_NAME, ""))

    def _selecting(self, pod: Entry, old: Entry | None) -> Iterator[Key]:
        for service in self._registry.shelf(SERVICES).snapshot(pod.key.namespace):
            selector = self._selector(service)
            if selector is None:
                continue
            if selector.matches(pod.labels) or (old and selector.matches(old.labels)):
                yield service.key

    def _selector(self, service: Entry) -> LabelSelector | None:
        known = self._selectors.get(service.key)
        if known is None or known[0] != service.version:
            known = (service.version, selector_of(service.read()))
            self._selectors[service.key] = known
        return known[1]

    def everything(self) -> Iterable[Key]:
        """Look at every Service, and at every slice whose Service has gone."""
        found = dict.fromkeys(self._registry.shelf(SERVICES).committed)
        for entry in self._registry.shelf(SLICES).committed.values():
            if entry.labels.get(MANAGED_BY) == MANAGER:
                found[Key(entry.key.namespace, entry.labels.get(SERVICE_NAME, ""))] = None
        return list(found)

    async def reconcile(self, key: Key) -> float | None:
        """Create, change and delete slices until they are as they should be."""
        service = self._registry.latest(SERVICES, key)
        if service is None:
            self._selectors.pop(key, None)
        if service is not None and "deletionTimestamp" in service["metadata"]:
            return None  # the collector sees to its slices
        wanted = {made["metadata"]["name"]: made for made in self._wanted(service)}
        for present in self._present(key):
            made = wanted.pop(present.key.name, None)
            if made is None:
                await self._delete(present.key)
            elif _differs(present.read(), made):
                await self._registry.modify(SLICES, present.key, _laying(made), _MANAGER)
        for made in wanted.values():
            await self._registry.create(SLICES, key.namespace, made, _MANAGER)
        return None

    def _wanted(self, service: JsonObject | None) -> list[JsonObject]:
        selector = selector_of(service) if service is not None else None
        if service is None or selector is None:
            return []
        pods = self._registry.shelf(PODS).snapshot(service["metadata"]["namespace"])
        return slices_of(service, (pod.read() for pod in pods if selector.matches(pod.labels)))

    def _present(self, key: Key) -> list[Entry]:
        latest = self._registry.shelf(SLICES).latest
        return [
            latest[entry.key]
            for entry in self._registry.shelf(SLICES).snapshot(key.namespace)
            if entry.key in latest
            and entry.labels.get(SERVICE_NAME) == key.name
            and entry.labels.get(MANAGED_BY) == MANAGER
        ]

    async def _delete(self, key: Key) -> None:
        try:
            await self._registry.delete(SLICES, key, DeleteOptions())
        except StatusError as error:
            if error.code != 404:
                raise


def selector_of(service: JsonObject) -> LabelSelector | None:
    """Give the selector of a Service; None when its slices are not ours to make."""
    spec = service["spec"]
    if not spec.get("selector") or spec.get("type") == "ExternalName":
        return None
    return from_map(spec["selector"])


def _differs(present: JsonObject, made: JsonObject) -> bool:
    return any(
        (present.get(field) or []) != made[field] for field in ("endpoints", "ports")
    ) or any(
        present["metadata"].get(field) != made["metadata"][field]
        for field in ("labels", "ownerReferences")
    )


def _laying(made: JsonObject) -> Change:
    def lay(present: JsonObject) -> JsonObject:
        metadata = {**present["metadata"]}
        for field in ("labels", "ownerReferences"):
            metadata[field] = made["metadata"][field]
        return {
            **present,
            "metadata": metadata,
            "endpoints": made["endpoints"],
            "ports": made["ports"],
        }

    return lay
