"""Events: what controllers did, for `kubectl describe`; kept for an hour."""

import asyncio
import sys
from collections.abc import Callable
from datetime import timedelta

from ambimesh.local.apiserver.builtin import EVENTS
from ambimesh.local.apiserver.controllers.objects import parse_time
from ambimesh.local.apiserver.objects.options import DeleteOptions, WriteOptions, timestamp
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.store.store import StoreUnavailableError
from ambimesh.local.apiserver.types.kinds import Kind

KEEP = timedelta(hours=1)
SWEEP_SECONDS = 60.0


class Recorder:
    """Writes events of one component."""

    def __init__(self, registry: Registry, component: str) -> None:
        self._registry = registry
        self._component = component
        self._options = WriteOptions(manager=component)

    async def record(
        self, kind: Kind, obj: JsonObject, reason: str, message: str, *, is_warning: bool = False
    ) -> None:
        """Write one event about a namespaced object.

        Events are told, not relied on: in a namespace that is going away there is none.
        """
        metadata, now = obj["metadata"], timestamp(self._registry.now())
        event: JsonObject = {
            "metadata": {"generateName": f"{metadata['name']}."},
            "involvedObject": {
                "kind": kind.kind,
                "apiVersion": kind.api_version,
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "reason": reason,
            "message": message,
            "type": "Warning" if is_warning else "Normal",
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._registry.create(EVENTS, metadata["namespace"], event, self._options)
        except StatusError as error:
            if error.code not in (403, 404):
                raise


class EventExpiry:
    """Deletes events that are older than an hour, whoever wrote them."""

    def __init__(self, registry: Registry, sweep_seconds: float = SWEEP_SECONDS) -> None:
        self._registry = registry
        self._sweep_seconds = sweep_seconds

    async def run(self, *, started: Callable[[], None]) -> None:
        """Run until cancelled."""
        started()
        while True:
            try:
                await self.sweep()
            except StoreUnavailableError as error:
                sys.stderr.write(f"EventExpiry: {error}; trying again\n")
            await asyncio.sleep(self._sweep_seconds)

    async def sweep(self) -> None:
        """Delete what has expired by now."""
        oldest = self._registry.now() - KEEP
        pending = []
        for entry in self._registry.shelf(EVENTS).snapshot():
            event = entry.read()
            told = parse_time(event.get("lastTimestamp") or event["metadata"]["creationTimestamp"])
            if told < oldest and entry.key in self._registry.shelf(EVENTS).latest:
                _, staged = self._registry.stage_delete(EVENTS, entry.key, DeleteOptions())
                pending.append(staged)
        for staged in pending:
            if staged is not None:
                await staged
