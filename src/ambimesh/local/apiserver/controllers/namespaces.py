"""Namespaces: what each of them has, and emptying those that are being deleted."""

from collections.abc import Iterable, Iterator

from ambimesh.local.apiserver.builtin import NAMESPACES
from ambimesh.local.apiserver.controllers.objects import is_deleting
from ambimesh.local.apiserver.objects.options import DeleteOptions, WriteOptions
from ambimesh.local.apiserver.objects.registry import Companions, Registry
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, Key
from ambimesh.local.apiserver.store.store import Staged
from ambimesh.local.apiserver.store.versions import preferred
from ambimesh.local.apiserver.types.kinds import KINDS, Kind

_MANAGER = WriteOptions(manager="ambimesh-namespaces")
_NAMESPACED = tuple(kind for kind in KINDS if kind.namespaced and preferred(kind) is kind)


class Namespaces:
    """Keeps companions in living namespaces, and removes the content of dying ones.

    Content is deleted as a user would: pods get their grace, finalizers are waited for. The
    namespace goes when nothing is left in it.
    """

    resources = (NAMESPACES.resource, *(kind.resource for kind in _NAMESPACED))

    def __init__(self, registry: Registry, companions: Companions) -> None:
        self._registry = registry
        self._companions = companions

    def concerned(self, resource: str, event: Event) -> Iterable[Key]:
        """Look at a namespace when it changes, and when something in it has gone."""
        if resource == NAMESPACES.resource:
            yield event.entry.key
        elif event.kind is EventType.DELETED:
            yield Key("", event.entry.key.namespace)

    def everything(self) -> Iterable[Key]:
        """Look at every namespace."""
        return list(self._registry.shelf(NAMESPACES).committed)

    async def reconcile(self, key: Key) -> float | None:
        """Complete a namespace, or empty it."""
        namespace = self._registry.latest(NAMESPACES, key)
        if namespace is None:
            return None
        if not is_deleting(namespace):
            await self._complete(key.name)
            return None
        for staged in self._delete_content(key.name):
            await staged
        if not any(True for _ in self._content(key.name)):
            await self._registry.finalize(NAMESPACES, key, [])
        return None

    async def _complete(self, namespace: str) -> None:
        for kind, obj in self._companions(namespace):
            if Key(namespace, obj["metadata"]["name"]) not in self._registry.shelf(kind).latest:
                await self._registry.create(kind, namespace, obj, _MANAGER)

    def _content(self, namespace: str) -> Iterator[tuple[Kind, Entry]]:
        for kind in _NAMESPACED:
            latest = self._registry.shelf(kind).latest
            for entry in self._registry.shelf(kind).snapshot(namespace):
                if entry.key in latest:
                    yield kind, entry

    def _delete_content(self, namespace: str) -> list[Staged]:
        pending = []
        for kind, entry in self._content(namespace):
            try:
                _, staged = self._registry.stage_delete(kind, entry.key, DeleteOptions())
            except StatusError:  # it went meanwhile
                continue
            if staged is not None:
                pending.append(staged)
        return pending
