"""Conditions on the objects people wrote: compared first, written only when they differ."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

import structlog

from ambimesh.compile.condition import Verdict
from ambimesh.compile.policies import ObjectName
from ambimesh.controlplane.pipeline import Pipeline
from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.errors import ObjectNotFoundError, words
from ambimesh.kube.istio import AuthorizationPolicy, PeerAuthentication
from ambimesh.kube.meta import Condition, Kind, Resource

MANAGER: Final = "istio-ambient-ztunnel-policy"

_KINDS: Final[Mapping[Kind, type[AuthorizationPolicy | PeerAuthentication]]] = {
    kind.KIND: kind for kind in (AuthorizationPolicy, PeerAuthentication)
}

Key = tuple[str, str]  # (namespace, name)

_log = structlog.get_logger(__name__)


class StatusWriter:
    """Writes what the compilers say about policies. Only the leader runs it."""

    def __init__(
        self,
        cluster: Cluster,
        pipeline: Pipeline,
        *,
        clock: Callable[[], datetime],
        retry_seconds: float = 1.0,
    ) -> None:
        self.written_count = 0
        self._cluster = cluster
        self._pipeline = pipeline
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._due: set[ObjectName] = set()
        self._wake = asyncio.Event()

    def compiled(self, kind: type[Resource], keys: frozenset[Key]) -> None:
        """Note that objects were compiled; only policies matter."""
        if kind.KIND in _KINDS:
            self._due.update(ObjectName(kind.KIND, *key) for key in keys)
            self._wake.set()

    async def run(self) -> None:
        """Keep the conditions right until cancelled."""
        self._due.update(self._pipeline.compiler.verdicts)
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, set()
            failed = [name for name in due if not await self._look_at(name)]
            if failed:
                self._due.update(failed)
                await asyncio.sleep(self._retry_seconds)
                self._wake.set()

    async def _look_at(self, name: ObjectName) -> bool:
        """Write the condition of one object if it differs; tell whether that is settled."""
        verdict = self._pipeline.compiler.verdicts.get(name)
        kind = _KINDS[name.kind]
        item = self._pipeline.reflectors[kind].get(name.namespace, name.name)
        if verdict is None or item is None:
            return True
        wanted = condition(verdict, item, self._clock())
        if wanted is None:
            return True
        try:
            await self._write(name, wanted)
        except ObjectNotFoundError:
            return True  # it has gone meanwhile
        except MeshError as error:
            _log.warning("condition not written", object=item.label, error=words(error))
            return False
        return True

    async def _write(self, name: ObjectName, wanted: Mapping[str, Any]) -> None:
        await self._cluster.patch(
            _KINDS[name.kind],
            name.name,
            name.namespace,
            {"status": {"conditions": [wanted]}},
            subresource="status",
            style="apply",
            manager=MANAGER,
        )
        self.written_count += 1


def condition(
    verdict: Verdict, item: AuthorizationPolicy | PeerAuthentication, now: datetime
) -> Mapping[str, Any] | None:
    """Give the condition to write, or ``None`` when the object has it already. Pure."""
    status = "True" if verdict.accepted else "False"
    old = next((c for c in item.status.conditions if c.type == verdict.type), Condition())
    has = (old.status, old.reason, old.message, int(old.observed_generation or 0))
    if has == (status, verdict.reason, verdict.message, verdict.generation):
        return None
    stays = old.status == status and old.last_transition_time
    return {
        "type": verdict.type,
        "status": status,
        "reason": verdict.reason,
        "message": verdict.message,
        "observedGeneration": verdict.generation,
        "lastTransitionTime": (
            old.last_transition_time if stays else now.strftime("%Y-%m-%dT%H:%M:%SZ")
        ),
    }
