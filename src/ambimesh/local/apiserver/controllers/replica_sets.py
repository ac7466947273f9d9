"""Keeps as many pods as a ReplicaSet says.

Source: the ReplicaSet controller of Kubernetes.
"""

from collections.abc import Iterable
from datetime import timedelta

from ambimesh.local.apiserver.builtin import PODS, REPLICA_SETS
from ambimesh.local.apiserver.controllers.events import Recorder
from ambimesh.local.apiserver.controllers.objects import (
    adopt,
    condition,
    controller_reference,
    has_ended,
    is_deleting,
    is_true,
    key_of,
    owned,
    parse_time,
)
from ambimesh.local.apiserver.objects.options import DeleteOptions, WriteOptions
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.selectors import from_object
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import Event, JsonObject, Key

_MANAGER = WriteOptions(manager="ambimesh-replicasets")
_BATCH = 100  # pods created or deleted in one look, so that others get their turn


class ReplicaSets:
    """Reconciles one ReplicaSet at a time."""

    resources = (REPLICA_SETS.resource, PODS.resource)

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder

    def concerned(self, resource: str, event: Event) -> Iterable[Key]:
        """Look at a ReplicaSet when it or one of its pods changes."""
        if resource == REPLICA_SETS.resource:
            yield event.entry.key
            return
        namespace = event.entry.key.namespace
        uids = {owner.uid for entry in (event.entry, event.old) if entry for owner in entry.owners}
        for entry in self._registry.shelf(REPLICA_SETS).snapshot(namespace):
            if entry.uid in uids or not uids:
                yield entry.key

    def everything(self) -> Iterable[Key]:
        """Look at every ReplicaSet."""
        return list(self._registry.shelf(REPLICA_SETS).committed)

    async def reconcile(self, key: Key) -> float | None:
        """Create or delete pods, then tell in the status how many there are."""
        replica_set = self._registry.latest(REPLICA_SETS, key)
        if replica_set is None or is_deleting(replica_set):
            return None
        selector = from_object(replica_set["spec"]["selector"])
        pods = [
            pod
            for pod in owned(self._registry, PODS, replica_set, selector)
            if not has_ended(pod) and not is_deleting(pod)
        ]
        for pod in pods:
            await adopt(self._registry, PODS, pod, (REPLICA_SETS, replica_set), _MANAGER)
        wanted = replica_set["spec"].get("replicas", 1)
        if len(pods) < wanted:
            await self._create(replica_set, min(wanted - len(pods), _BATCH))
        elif len(pods) > wanted:
            surplus = sorted(pods, key=_worth)[: min(len(pods) - wanted, _BATCH)]
            await self._delete(replica_set, surplus)
            gone = {pod["metadata"]["uid"] for pod in surplus}
            pods = [pod for pod in pods if pod["metadata"]["uid"] not in gone]
        return await self._tell(key, pods)

    async def _create(self, replica_set: JsonObject, count: int) -> None:
        key = key_of(replica_set)
        for _ in range(count):
            outcome = await self._registry.create(
                PODS, key.namespace, pod_of(replica_set), _MANAGER
            )
            message = f"Created pod: {outcome.name}"
            await self._recorder.record(REPLICA_SETS, replica_set, "SuccessfulCreate", message)

    async def _delete(self, replica_set: JsonObject, pods: list[JsonObject]) -> None:
        for pod in pods:
            options = DeleteOptions(uid=pod["metadata"]["uid"])
            try:
                await self._registry.delete(PODS, key_of(pod), options)
            except StatusError as error:
                if error.code not in (404, 409):
                    raise
            message = f"Deleted pod: {pod['metadata']['name']}"
            await self._recorder.record(REPLICA_SETS, replica_set, "SuccessfulDelete", message)

    async def _tell(self, key: Key, pods: list[JsonObject]) -> float | None:
        replica_set = self._registry.latest(REPLICA_SETS, key)
        if replica_set is None:
            return None
        seconds = replica_set["spec"].get("minReadySeconds", 0)
        waits = [self._until_available(pod, seconds) for pod in pods if is_true(pod, "Ready")]
        template = replica_set["spec"]["template"].get("metadata", {}).get("labels") or {}
        fully = [pod for pod in pods if template.items() <= pod["metadata"]["labels"].items()]
        status = {
            "replicas": len(pods),
            "fullyLabeledReplicas": len(fully),
            "readyReplicas": len(waits),
            "availableReplicas": sum(wait <= 0 for wait in waits),
            "observedGeneration": replica_set["metadata"].get("generation", 0),
        }

        def report(present: JsonObject) -> JsonObject:
            present["status"] = {name: value for name, value in status.items() if value}
            present["status"].setdefault("replicas", 0)
            return present

        await self._registry.modify(REPLICA_SETS, key, report, _MANAGER, door="status")
        return min((wait for wait in waits if wait > 0), default=None)

    def _until_available(self, pod: JsonObject, seconds: int) -> float:
        since = condition(pod, "Ready").get("lastTransitionTime")
        if not seconds or not since:
            return 0
        when = parse_time(since) + timedelta(seconds=seconds)
        return (when - self._registry.now()).total_seconds()


def pod_of(replica_set: JsonObject) -> JsonObject:
    """Give a new pod of a ReplicaSet."""
    template = replica_set["spec"]["template"]
    metadata = template.get("metadata") or {}
    copied = {name: metadata[name] for name in ("labels", "annotations") if metadata.get(name)}
    return {
        "metadata": {
            **copied,
            "generateName": f"{replica_set['metadata']['name']}-",
            "namespace": replica_set["metadata"]["namespace"],
            "ownerReferences": [controller_reference(REPLICA_SETS, replica_set)],
        },
        "spec": dict(template["spec"]),
    }


def _worth(pod: JsonObject) -> tuple[bool, bool, str]:
    """Order pods by what is lost with them: without a node, not ready, the newest first."""
    newest_first = "".join(
        chr(0x10FFFF - ord(letter)) for letter in pod["metadata"]["creationTimestamp"]
    )
    return bool(pod["spec"].get("nodeName")), is_true(pod, "Ready"), newest_first
