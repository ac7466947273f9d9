"""The garbage collector: what belongs to nothing any more is deleted.

Source: ownerReferences and the finalizers ``orphan`` and ``foregroundDeletion`` of Kubernetes.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ambimesh.local.apiserver.controllers.objects import is_deleting
from ambimesh.local.apiserver.objects.delete import FOREGROUND, ORPHAN
from ambimesh.local.apiserver.objects.options import DeleteOptions, WriteOptions
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, JsonObject, Key
from ambimesh.local.apiserver.store.versions import preferred
from ambimesh.local.apiserver.types.kinds import KINDS, Kind

_KINDS = {kind.resource: kind for kind in KINDS if preferred(kind) is kind}
_MARKS = (f'"{ORPHAN}"'.encode(), f'"{FOREGROUND}"'.encode())
_MANAGER = WriteOptions(manager="ambimesh-collector")


class Place(NamedTuple):
    """Where an object lies."""

    resource: str
    key: Key


class Collector:
    """Follows owner references, with an index of dependants by their owner's uid.

    What it looks at is named by uid: the key it is given has an empty namespace and the uid.
    """

    resources = tuple(_KINDS)

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._places: dict[str, Place] = {}  # of every living object, by uid
        self._dependants: dict[str, set[str]] = {}  # uids, by the owner's uid
        for resource, shelf in registry.store.shelves.items():
            for entry in shelf.committed.values():
                self._enter(resource, entry)

    def concerned(self, resource: str, event: Event) -> Iterable[Key]:
        """Keep the index, and look at what may have lost or gained an owner."""
        entry = event.entry
        if event.old is not None:
            self._leave(event.old)
        if event.kind is EventType.DELETED:
            yield from self._after_removal(entry)
            return
        self._enter(resource, entry)
        if entry.owners or _is_marked(entry):
            yield Key("", entry.uid)

    def _after_removal(self, entry: Entry) -> Iterator[Key]:
        self._places.pop(entry.uid, None)
        for uid in self._dependants.get(entry.uid, ()):
            yield Key("", uid)
        for owner in entry.owners:  # which may have waited for this one
            yield Key("", owner.uid)

    def _enter(self, resource: str, entry: Entry) -> None:
        self._places[entry.uid] = Place(resource, entry.key)
        for owner in entry.owners:
            self._dependants.setdefault(owner.uid, set()).add(entry.uid)

    def _leave(self, entry: Entry) -> None:
        for owner in entry.owners:
            remaining = self._dependants.get(owner.uid, set())
            remaining.discard(entry.uid)
            if not remaining:
                self._dependants.pop(owner.uid, None)

    def everything(self) -> Iterable[Key]:
        """Look at all that has an owner, or waits for its dependants."""
        return [
            Key("", entry.uid)
            for shelf in self._registry.store.shelves.values()
            for entry in shelf.committed.values()
            if entry.owners or _is_marked(entry)
        ]

    async def reconcile(self, key: Key) -> float | None:
        """Delete, release or wait, as an object's owners and finalizers say."""
        found = self._find(key.name)
        if found is None:
            return None
        kind, obj = found
        finalizers = obj["metadata"].get("finalizers") or ()
        if is_deleting(obj) and ORPHAN in finalizers:
            await self._orphan(kind, obj)
        elif is_deleting(obj) and FOREGROUND in finalizers:
            await self._delete_dependants(kind, obj)
        elif not is_deleting(obj):
            await self._follow_owners(kind, obj)
        return None

    def _find(self, uid: str) -> tuple[Kind, JsonObject] | None:
        place = self._places.get(uid)
        if place is None:
            return None
        kind = _KINDS[place.resource]
        obj = self._registry.latest(kind, place.key)
        return (kind, obj) if obj is not None and obj["metadata"]["uid"] == uid else None

    async def _follow_owners(self, kind: Kind, obj: JsonObject) -> None:
        references = obj["metadata"].get("ownerReferences") or []
        if not references:
            return
        living = [ref for ref in references if self._is_staying(ref)]
        if not living:
            await self._delete(kind, obj, DeleteOptions(propagation="Background"))
            return
        gone = {ref["uid"] for ref in references if self._find(ref["uid"]) is None}
        if gone:
            await self._release(kind, obj, gone)

    def _is_staying(self, reference: JsonObject) -> bool:
        """Tell whether an owner exists and does not wait for this dependant to go."""
        found = self._find(reference["uid"])
        if found is None:
            return False
        _, owner = found
        return not (
            is_deleting(owner) and FOREGROUND in (owner["metadata"].get("finalizers") or ())
        )

    async def _orphan(self, kind: Kind, obj: JsonObject) -> None:
        uid = obj["metadata"]["uid"]
        for found in self._dependants_of(uid):
            await self._release(*found, {uid})
        await self._drop_finalizer(kind, obj, ORPHAN)

    async def _delete_dependants(self, kind: Kind, obj: JsonObject) -> None:
        uid = obj["metadata"]["uid"]
        is_blocked = False
        for dependant_kind, dependant in self._dependants_of(uid):
            references = dependant["metadata"].get("ownerReferences") or ()
            blocks = any(r["uid"] == uid and r.get("blockOwnerDeletion") for r in references)
            is_blocked = is_blocked or blocks
            if not is_deleting(dependant):
                await self._follow_owners(dependant_kind, dependant)
        if not is_blocked:
            await self._drop_finalizer(kind, obj, FOREGROUND)

    def _dependants_of(self, uid: str) -> list[tuple[Kind, JsonObject]]:
        found = (self._find(dependant) for dependant in sorted(self._dependants.get(uid, ())))
        return [pair for pair in found if pair is not None]

    async def _release(self, kind: Kind, obj: JsonObject, owners: set[str]) -> None:
        def release(present: JsonObject) -> JsonObject:
            references = present["metadata"].get("ownerReferences") or []
            kept = [ref for ref in references if ref["uid"] not in owners]
            present["metadata"]["ownerReferences"] = kept
            return present

        await self._registry.modify(kind, _key(kind, obj), release, _MANAGER)

    async def _drop_finalizer(self, kind: Kind, obj: JsonObject, name: str) -> None:
        def drop(present: JsonObject) -> JsonObject:
            finalizers = present["metadata"].get("finalizers") or []
            present["metadata"]["finalizers"] = [kept for kept in finalizers if kept != name]
            return present

        await self._registry.modify(kind, _key(kind, obj), drop, _MANAGER)

    async def _delete(self, kind: Kind, obj: JsonObject, options: DeleteOptions) -> None:
        try:
            await self._registry.delete(kind, _key(kind, obj), options)
        except StatusError as error:
            if error.code != 404:
                raise


def _is_marked(entry: Entry) -> bool:
    return any(mark in entry.data for mark in _MARKS)


def _key(kind: Kind, obj: JsonObject) -> Key:
    metadata = obj["metadata"]
    return Key(metadata["namespace"] if kind.namespaced else "", metadata["name"])
