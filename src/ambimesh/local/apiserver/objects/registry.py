"""The one way to write: every client and every controller changes objects through here."""

from collections.abc import Callable, Iterable
from datetime import datetime

from ambimesh.local.apiserver.builtin import NAMESPACES, PODS, SERVICE_ACCOUNTS, SERVICES
from ambimesh.local.apiserver.objects import create, update
from ambimesh.local.apiserver.objects.delete import decide, is_finished
from ambimesh.local.apiserver.objects.options import (
    DeleteOptions,
    Deletion,
    Outcome,
    WriteOptions,
    timestamp,
)
from ambimesh.local.apiserver.objects.service_address import ServiceAddresses
from ambimesh.local.apiserver.status import already_exists, conflict, forbidden, not_found
from ambimesh.local.apiserver.store.entry import EventType, JsonObject, Key, encode
from ambimesh.local.apiserver.store.shelf import Shelf
from ambimesh.local.apiserver.store.store import Staged, Store
from ambimesh.local.apiserver.store.versions import preferred, read, show
from ambimesh.local.apiserver.types.kinds import Kind

Change = Callable[[JsonObject], JsonObject]
Companions = Callable[[str], Iterable[tuple[Kind, JsonObject]]]
"""Gives what every namespace has, for the one that is named."""


class Registry:
    """Creates, changes and deletes objects.

    Every write reads the latest state and stages the new one in one turn of the loop, without
    an await between: nobody can come between, and nothing needs a lock.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime], companions: Companions) -> None:
        self.store = store
        self._clock = clock
        self._companions = companions
        self._addresses = ServiceAddresses(self._service)
        for entry in store.shelves["services"].latest.values():
            self._addresses.note(entry.key, entry.read()["spec"].get("clusterIPs") or [])

    def shelf(self, kind: Kind) -> Shelf:
        """Give the objects of a kind."""
        return self.store.shelves[kind.resource]

    def latest(self, kind: Kind, key: Key) -> JsonObject | None:
        """Give a fresh copy of the latest state, which may not be on disk yet."""
        entry = self.shelf(kind).latest.get(key)
        return read(kind, entry) if entry else None

    def now(self) -> datetime:
        """Give the present moment."""
        return self._clock()

    def _service(self, key: Key) -> JsonObject | None:
        entry = self.store.shelves["services"].latest.get(key)
        return entry.read() if entry else None

    async def create(
        self, kind: Kind, namespace: str, obj: JsonObject, options: WriteOptions
    ) -> Outcome:
        """Create an object; it is on disk on return.

        Errors: StatusError 400, 403, 404, 409, 422; StoreUnavailableError.
        """
        create.identify(kind, namespace, obj)
        return await self._add(kind, obj, options, is_owned=False)

    async def create_applied(
        self, kind: Kind, namespace: str, obj: JsonObject, options: WriteOptions
    ) -> Outcome:
        """Create an object whose managed fields server-side apply has settled already."""
        create.identify(kind, namespace, obj)
        return await self._add(kind, obj, options, is_owned=True)

    async def _add(
        self, kind: Kind, obj: JsonObject, options: WriteOptions, *, is_owned: bool
    ) -> Outcome:
        metadata = obj["metadata"]
        namespace = metadata["namespace"] if kind.namespaced else ""
        if kind.namespaced:
            home = self.latest(NAMESPACES, Key("", namespace))
            create.require_namespace(kind, str(metadata.get("name", "")), namespace, home)
        now = timestamp(self.now())
        obj, warnings = create.complete(kind, obj, options, now)
        key = Key(namespace, obj["metadata"]["name"])
        if existing := self.latest(kind, key):
            is_terminating = "deletionTimestamp" in existing["metadata"]
            raise already_exists(kind, key.name, terminating=is_terminating)
        self._admit(kind, obj)
        if not is_owned:
            obj = create.own(kind, obj, options, now)
        if options.dry_run:
            return Outcome(name=key.name, data=encode(obj), created=True, warnings=warnings)
        staged = self._stage(kind, EventType.ADDED, key, obj)
        pending = self._add_companions(key.name) if kind is NAMESPACES else []
        entry = await staged
        for companion in pending:
            await companion
        return Outcome(name=key.name, data=show(kind, entry.data), created=True, warnings=warnings)

    def _admit(self, kind: Kind, obj: JsonObject) -> None:
        """Check and complete a new object where that needs others."""
        if kind is SERVICES:
            self._addresses.assign(kind, obj)
        if kind is PODS:
            namespace, account = obj["metadata"]["namespace"], obj["spec"]["serviceAccountName"]
            if Key(namespace, account) not in self.shelf(SERVICE_ACCOUNTS).latest:
                why = (
                    f"error looking up service account {namespace}/{account}:"
                    f' serviceaccount "{account}" not found'
                )
                raise forbidden(kind, obj["metadata"]["name"], why)

    def _add_companions(self, namespace: str) -> list[Staged]:
        """Stage what every namespace has, in the same turn: the next request may rely on it."""
        pending = []
        for kind, given in self._companions(namespace):
            create.identify(kind, namespace, given)
            key = Key(namespace, given["metadata"]["name"])
            if key not in self.shelf(kind).latest:
                options, now = WriteOptions(), timestamp(self.now())
                obj, _ = create.complete(kind, given, options, now)
                owned = create.own(kind, obj, options, now)
                pending.append(self._stage(kind, EventType.ADDED, key, owned))
        return pending

    async def modify(
        self,
        kind: Kind,
        key: Key,
        change: Change,
        options: WriteOptions,
        *,
        door: str = "",
        is_owned: bool = False,
        is_partial: bool = True,
    ) -> Outcome:
        """Change an object; ``change`` gets a fresh copy of its latest state.

        Errors: StatusError 400, 404, 409, 422; what ``change`` raises; StoreUnavailableError.
        """
        entry = self.shelf(kind).latest.get(key)
        if entry is None:
            raise not_found(kind, key.name)
        old = read(kind, entry)
        revision = update.Revision(
            kind=kind,
            old=old,
            door=door,
            options=options,
            now=timestamp(self.now()),
            is_owned=is_owned,
            is_partial=is_partial,
        )
        # A second copy: a patch may share structure with what it was made from.
        new, warnings = update.revise(revision, change(read(kind, entry)))
        if new is None:
            await self.store.settled()  # what is answered must be on disk, whoever wrote it
            return Outcome(name=key.name, data=show(kind, entry.data), warnings=warnings)
        if kind is SERVICES and not new["spec"].get("clusterIP"):
            self._addresses.assign(kind, new)
        if options.dry_run:
            return Outcome(name=key.name, data=encode(new), warnings=warnings)
        event = EventType.DELETED if is_finished(kind, new) else EventType.MODIFIED
        entry = await self._stage(kind, event, key, new)
        return Outcome(name=key.name, data=show(kind, entry.data), warnings=warnings)

    async def bind(self, kind: Kind, key: Key, node: str) -> Outcome:
        """Put a pod on a node; done once.

        Errors: StatusError 404, 409; StoreUnavailableError.
        """

        def assign(pod: JsonObject) -> JsonObject:
            present = pod["spec"].get("nodeName")
            if present and present != node:
                why = f'pod {key.name} is already assigned to node "{present}"'
                raise conflict(kind, key.name, why)
            pod["spec"]["nodeName"] = node
            scheduled = {
                "type": "PodScheduled",
                "status": "True",
                "lastTransitionTime": timestamp(self.now()),
            }
            conditions = pod.setdefault("status", {}).get("conditions") or []
            others = [found for found in conditions if found.get("type") != "PodScheduled"]
            pod["status"]["conditions"] = [*others, scheduled]
            return pod

        options = WriteOptions(manager="ambimesh-scheduler")
        return await self.modify(kind, key, assign, options, door="binding")

    async def finalize(self, kind: Kind, key: Key, finalizers: list[str]) -> Outcome:
        """Set what holds a namespace that is being deleted; nothing: it is removed.

        Errors: StatusError 404; StoreUnavailableError.
        """

        def settle(namespace: JsonObject) -> JsonObject:
            namespace["spec"] = {"finalizers": finalizers} if finalizers else {}
            return namespace

        options = WriteOptions(manager="ambimesh-namespaces")
        return await self.modify(kind, key, settle, options, door="finalize")

    async def delete(self, kind: Kind, key: Key, options: DeleteOptions) -> Deletion:
        """Delete an object, or mark it when finalizers, grace or contents hold it.

        Errors: StatusError 404, 409; StoreUnavailableError.
        """
        deletion, staged = self.stage_delete(kind, key, options)
        if staged is not None:
            await staged
        return deletion

    def stage_delete(
        self, kind: Kind, key: Key, options: DeleteOptions
    ) -> tuple[Deletion, Staged | None]:
        """Begin to delete; await what it gives to know that it is on disk."""
        obj = self.latest(kind, key)
        if obj is None:
            raise not_found(kind, key.name)
        decision = decide(kind, obj, options, self.now())
        staged = None
        if not options.dry_run and (decision.is_gone or decision.is_changed):
            event = EventType.DELETED if decision.is_gone else EventType.MODIFIED
            staged = self._stage(kind, event, key, decision.obj)
        return Deletion(obj=decision.obj, gone=decision.is_gone), staged

    def _stage(self, kind: Kind, event: EventType, key: Key, obj: JsonObject) -> Staged:
        obj["apiVersion"] = preferred(kind).api_version
        return self.store.stage(kind.resource, event, key, obj)
