"""Brings a Deployment's pods to its template, through ReplicaSets, as `kubectl rollout` sees.

Source: the Deployment controller of Kubernetes.
"""

from collections.abc import Iterable

from ambimesh.local.apiserver.builtin import DEPLOYMENTS, REPLICA_SETS
from ambimesh.local.apiserver.controllers.events import Recorder
from ambimesh.local.apiserver.controllers.objects import (
    adopt,
    controller_reference,
    is_deleting,
    key_of,
    owned,
    set_condition,
)
from ambimesh.local.apiserver.controllers.rollout import (
    TEMPLATE_HASH,
    Replicas,
    bare_template,
    limits_of,
    next_sizes,
    template_hash,
)
from ambimesh.local.apiserver.objects.options import DeleteOptions, WriteOptions, timestamp
from ambimesh.local.apiserver.objects.registry import Change, Registry
from ambimesh.local.apiserver.selectors import from_object
from ambimesh.local.apiserver.store.entry import Event, JsonObject, Key, decode

REVISION = "deployment.kubernetes.io/revision"
_MANAGER = WriteOptions(manager="ambimesh-deployments")
_KEPT_OLD = 10


class Deployments:
    """Reconciles one Deployment at a time."""

    resources = (DEPLOYMENTS.resource, REPLICA_SETS.resource)

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder

    def concerned(self, resource: str, event: Event) -> Iterable[Key]:
        """Look at a Deployment when it or one of its ReplicaSets changes."""
        if resource == DEPLOYMENTS.resource:
            yield event.entry.key
            return
        uids = {owner.uid for owner in event.entry.owners}
        for entry in self._registry.shelf(DEPLOYMENTS).snapshot(event.entry.key.namespace):
            if entry.uid in uids or not uids:
                yield entry.key

    def everything(self) -> Iterable[Key]:
        """Look at every Deployment."""
        return list(self._registry.shelf(DEPLOYMENTS).committed)

    async def reconcile(self, key: Key) -> float | None:
        """Move one step towards the template, and tell how far it is."""
        deployment = self._registry.latest(DEPLOYMENTS, key)
        if deployment is None or is_deleting(deployment):
            return None
        sets = await self._sets(deployment)
        new = next((each for each in sets if _is_current(deployment, each)), None)
        if new is None:
            new = await self._add_set(deployment, sets)
            sets.append(new)
        await self._mark_revision(deployment, new, sets)
        old = [each for each in sets if each["metadata"]["uid"] != new["metadata"]["uid"]]
        if not deployment["spec"].get("paused"):
            await self._resize(deployment, new, old)
        await self._forget_old(deployment, old)
        await self._tell(key, new["metadata"]["uid"])
        return None

    async def _sets(self, deployment: JsonObject) -> list[JsonObject]:
        """Give the ReplicaSets of a Deployment, from the oldest revision to the newest."""
        selector = from_object(deployment["spec"]["selector"])
        found = [
            each
            for each in owned(self._registry, REPLICA_SETS, deployment, selector)
            if not is_deleting(each)
        ]
        for each in found:
            await adopt(self._registry, REPLICA_SETS, each, (DEPLOYMENTS, deployment), _MANAGER)
        return sorted(found, key=_revision)

    async def _add_set(self, deployment: JsonObject, sets: list[JsonObject]) -> JsonObject:
        size = deployment["spec"].get("replicas", 1) if not _has_pods(sets) else 0
        if size == 0 and not deployment["spec"].get("paused"):
            size = _first_size(deployment, sets)
        made = _set_of(deployment, size)
        key = key_of(deployment)
        outcome = await self._registry.create(REPLICA_SETS, key.namespace, made, _MANAGER)
        if size:
            await self._tell_scaling(deployment, outcome.name, 0, size)
        return decode(outcome.data)

    async def _mark_revision(
        self, deployment: JsonObject, new: JsonObject, sets: list[JsonObject]
    ) -> None:
        """Give the current ReplicaSet the highest revision; the Deployment shows it."""
        highest = max((_revision(each) for each in sets if each is not new), default=0)
        revision = max(_revision(new), highest + 1 if highest >= _revision(new) else 0, 1)

        def mark(present: JsonObject) -> JsonObject:
            present["metadata"].setdefault("annotations", {})[REVISION] = str(revision)
            return present

        if _revision(new) != revision:
            await self._registry.modify(REPLICA_SETS, key_of(new), mark, _MANAGER)
        if _revision(deployment) != revision:
            await self._registry.modify(DEPLOYMENTS, key_of(deployment), mark, _MANAGER)

    async def _resize(self, deployment: JsonObject, new: JsonObject, old: list[JsonObject]) -> None:
        sizes = next_sizes(deployment["spec"], _counts(new), [_counts(each) for each in old])
        for each in (new, *old):
            name = each["metadata"]["name"]
            if name in sizes:
                before = each["spec"].get("replicas", 1)
                await self._registry.modify(
                    REPLICA_SETS, key_of(each), _sized(sizes[name]), _MANAGER
                )
                await self._tell_scaling(deployment, name, before, sizes[name])

    async def _tell_scaling(
        self, deployment: JsonObject, name: str, before: int, after: int
    ) -> None:
        way = "up" if after > before else "down"
        message = f"Scaled {way} replica set {name} from {before} to {after}"
        await self._recorder.record(DEPLOYMENTS, deployment, "ScalingReplicaSet", message)

    async def _forget_old(self, deployment: JsonObject, old: list[JsonObject]) -> None:
        """Delete ReplicaSets without pods beyond the history that is kept."""
        kept = deployment["spec"].get("revisionHistoryLimit", _KEPT_OLD)
        idle = [
            each
            for each in old
            if not each["spec"].get("replicas", 1) and not _counts(each).present
        ]
        for each in idle[: max(len(idle) - kept, 0)]:
            await self._registry.delete(REPLICA_SETS, key_of(each), DeleteOptions())

    async def _tell(self, key: Key, new_uid: str) -> None:
        deployment = self._registry.latest(DEPLOYMENTS, key)
        if deployment is None:
            return
        selector = from_object(deployment["spec"]["selector"])
        sets = list(owned(self._registry, REPLICA_SETS, deployment, selector))
        new = next((each for each in sets if each["metadata"]["uid"] == new_uid), None)
        now = timestamp(self._registry.now())
        status = status_of(deployment, new, sets, now)

        def report(present: JsonObject) -> JsonObject:
            present["status"] = status
            return present

        await self._registry.modify(DEPLOYMENTS, key, report, _MANAGER, door="status")


def status_of(
    deployment: JsonObject, new: JsonObject | None, sets: list[JsonObject], now: str
) -> JsonObject:
    """Give the status of a Deployment from its ReplicaSets."""
    wanted = deployment["spec"].get("replicas", 1)
    statuses = [each.get("status") or {} for each in sets]
    replicas, ready, available = (
        sum(status.get(name, 0) for status in statuses)
        for name in ("replicas", "readyReplicas", "availableReplicas")
    )
    updated = ((new or {}).get("status") or {}).get("replicas", 0)
    counted = {
        "replicas": replicas,
        "updatedReplicas": updated,
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": max(wanted - available, 0),
        "observedGeneration": deployment["metadata"].get("generation", 0),
    }
    status: JsonObject = {name: value for name, value in counted.items() if value}
    status["conditions"] = (deployment.get("status") or {}).get("conditions") or []
    is_enough = available >= wanted - limits_of(deployment["spec"]).unavailable
    set_condition(status, _available(is_enough=is_enough), now)
    is_complete = updated == wanted == replicas == available
    set_condition(status, _progressing(deployment, new, is_complete=is_complete), now)
    return status


def _available(*, is_enough: bool) -> JsonObject:
    return {
        "type": "Available",
        "status": "True" if is_enough else "False",
        "reason": "MinimumReplicasAvailable" if is_enough else "MinimumReplicasUnavailable",
        "message": "Deployment has minimum availability."
        if is_enough
        else "Deployment does not have minimum availability.",
    }


def _progressing(
    deployment: JsonObject, new: JsonObject | None, *, is_complete: bool
) -> JsonObject:
    if deployment["spec"].get("paused"):
        reason, message = "DeploymentPaused", "Deployment is paused"
        return {"type": "Progressing", "status": "Unknown", "reason": reason, "message": message}
    name = new["metadata"]["name"] if new else ""
    reason = "NewReplicaSetAvailable" if is_complete else "ReplicaSetUpdated"
    message = (
        f'ReplicaSet "{name}" has successfully progressed.'
        if is_complete
        else f'ReplicaSet "{name}" is progressing.'
    )
    return {"type": "Progressing", "status": "True", "reason": reason, "message": message}


def _set_of(deployment: JsonObject, size: int) -> JsonObject:
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = bare_template(spec["template"])
    name = template_hash(template)
    labels = {**(template["metadata"].get("labels") or {}), TEMPLATE_HASH: name}
    selector = spec["selector"]
    made: JsonObject = {
        "metadata": {
            "name": f"{metadata['name']}-{name}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [controller_reference(DEPLOYMENTS, deployment)],
        },
        "spec": {
            "replicas": size,
            "selector": {
                **selector,
                "matchLabels": {**(selector.get("matchLabels") or {}), TEMPLATE_HASH: name},
            },
            "template": {**template, "metadata": {**template["metadata"], "labels": labels}},
        },
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return made


def _first_size(deployment: JsonObject, sets: list[JsonObject]) -> int:
    new = Replicas("", 0, 0, 0)
    return next_sizes(deployment["spec"], new, [_counts(each) for each in sets]).get("", 0)


def _has_pods(sets: list[JsonObject]) -> bool:
    return any(each["spec"].get("replicas", 1) for each in sets)


def _is_current(deployment: JsonObject, replica_set: JsonObject) -> bool:
    wanted = bare_template(deployment["spec"]["template"])
    return bare_template(replica_set["spec"]["template"]) == wanted


def _counts(replica_set: JsonObject) -> Replicas:
    status = replica_set.get("status") or {}
    return Replicas(
        name=replica_set["metadata"]["name"],
        wanted=replica_set["spec"].get("replicas", 1),
        present=status.get("replicas", 0),
        available=status.get("availableReplicas", 0),
    )


def _revision(obj: JsonObject) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def _sized(size: int) -> Change:
    def resize(present: JsonObject) -> JsonObject:
        present["spec"]["replicas"] = size
        return present

    return resize
