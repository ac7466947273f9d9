"""Gives every pod without a node one: spread over the nodes that are ready."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ambimesh.local.apiserver.builtin import NODES, PODS
from ambimesh.local.apiserver.controllers.events import Recorder
from ambimesh.local.apiserver.controllers.objects import (
    condition,
    has_ended,
    is_deleting,
    is_true,
    set_condition,
)
from ambimesh.local.apiserver.objects.options import DeleteOptions, WriteOptions, timestamp
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, JsonObject, Key

NAME = "default-scheduler"
_MANAGER = WriteOptions(manager="ambimesh-scheduler")
_EXCLUDING = ("NoSchedule", "NoExecute")


class Scheduler:
    """Chooses the node with the fewest pods of the same owner, then with the fewest pods.

    Pods of a node that is deleted go with it.
    """

    resources = (PODS.resource, NODES.resource)

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._registry = registry
        self._recorder = recorder

    def concerned(self, resource: str, event: Event) -> Iterable[Key]:
        """Look at pods without a node, again when a node changes."""
        if resource == PODS.resource:
            if not event.entry.fields.get("spec.nodeName"):
                yield event.entry.key
        elif event.kind is EventType.DELETED:
            yield from (pod.key for pod in self._pods_on(event.entry.key.name))
        else:
            yield from self.everything()

    def everything(self) -> Iterable[Key]:
        """Look at all pods without a node."""
        return [pod.key for pod in self._pods_on("")]

    def _pods_on(self, node: str) -> Iterator[Entry]:
        for pod in self._registry.shelf(PODS).committed.values():
            if pod.fields.get("spec.nodeName", "") == node:
                yield pod

    async def reconcile(self, key: Key) -> float | None:
        """Bind a pod, tell why it cannot be, or delete what was lost with its node."""
        pod = self._registry.latest(PODS, key)
        if pod is None:
            return None
        node = pod["spec"].get("nodeName")
        if node:
            await self._delete_lost(key, pod, node)
            return None
        is_ours = (pod["spec"].get("schedulerName") or NAME) == NAME
        if is_deleting(pod) or has_ended(pod) or not is_ours:
            return None
        nodes = [entry.read() for entry in self._registry.shelf(NODES).snapshot()]
        reasons = {node["metadata"]["name"]: why_not(pod, node) for node in nodes}
        usable = [name for name, reason in reasons.items() if not reason]
        if not usable:
            await self._tell(key, pod, list(reasons.values()))
            return None
        chosen = self._choose(pod, usable)
        await self._registry.bind(PODS, key, chosen)
        where = f"{key.namespace}/{key.name}"
        message = f"Successfully assigned {where} to {chosen}"
        await self._recorder.record(PODS, pod, "Scheduled", message)
        return None

    async def _delete_lost(self, key: Key, pod: JsonObject, node: str) -> None:
        if Key("", node) in self._registry.shelf(NODES).latest:
            return
        options = DeleteOptions(grace_seconds=0, uid=pod["metadata"]["uid"])
        try:
            await self._registry.delete(PODS, key, options)
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    def _choose(self, pod: JsonObject, nodes: list[str]) -> str:
        owners = {ref["uid"] for ref in pod["metadata"].get("ownerReferences") or ()}
        siblings, pods = dict.fromkeys(nodes, 0), dict.fromkeys(nodes, 0)
        for other in self._registry.shelf(PODS).latest.values():
            node = other.fields.get("spec.nodeName", "")
            if node in pods:
                pods[node] += 1
                siblings[node] += any(owner.uid in owners for owner in other.owners)
        return min(nodes, key=lambda node: (siblings[node], pods[node], node))

    async def _tell(self, key: Key, pod: JsonObject, reasons: list[str]) -> None:
        counted = ", ".join(f"{reasons.count(reason)} {reason}" for reason in sorted(set(reasons)))
        message = f"0/{len(reasons)} nodes are available" + (f": {counted}." if counted else ".")
        if condition(pod, "PodScheduled").get("message") == message:
            return
        now = timestamp(self._registry.now())
        failed = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }

        def report(present: JsonObject) -> JsonObject:
            set_condition(present.setdefault("status", {}), failed, now)
            return present

        await self._registry.modify(PODS, key, report, _MANAGER, door="status")
        await self._recorder.record(PODS, pod, "FailedScheduling", message, is_warning=True)


def why_not(pod: JsonObject, node: JsonObject) -> str:
    """Tell why a pod cannot run on a node, in the scheduler's words; empty when it can."""
    spec = node.get("spec") or {}
    labels: Mapping[str, str] = node["metadata"].get("labels") or {}
    if is_deleting(node) or not is_true(node, "Ready"):
        return "node(s) were not ready"
    if spec.get("unschedulable"):
        return "node(s) were unschedulable"
    wanted: Mapping[str, str] = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(name) != value for name, value in wanted.items()):
        return "node(s) didn't match Pod's node affinity/selector"
    for taint in spec.get("taints") or ():
        is_tolerated = any(_tolerates(t, taint) for t in pod["spec"].get("tolerations") or ())
        if taint.get("effect") in _EXCLUDING and not is_tolerated:
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    is_any = toleration.get("operator") == "Exists"
    return is_any or (toleration.get("value") or "") == (taint.get("value") or "")
