"""What controllers share about objects: who owns whom, is a pod ready, conditions."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from ambimesh.local.apiserver.objects.options import WriteOptions
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.selectors import LabelSelector
from ambimesh.local.apiserver.store.entry import Entry, JsonObject, Key
from ambimesh.local.apiserver.types.kinds import Kind


def key_of(obj: JsonObject) -> Key:
    """Give the key of a namespaced object."""
    return Key(obj["metadata"]["namespace"], obj["metadata"]["name"])


def controller_reference(kind: Kind, owner: JsonObject) -> JsonObject:
    """Give the owner reference of something that a controller makes for ``owner``."""
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: JsonObject) -> JsonObject | None:
    """Give the reference to the controller of an object."""
    references: Sequence[JsonObject] = obj["metadata"].get("ownerReferences") or ()
    return next((reference for reference in references if reference.get("controller")), None)


def is_deleting(obj: JsonObject) -> bool:
    """Tell whether an object is on its way out."""
    return "deletionTimestamp" in obj["metadata"]


def owned(
    registry: Registry, kind: Kind, owner: JsonObject, selector: LabelSelector
) -> Iterator[JsonObject]:
    """Give the objects that a controller's object owns, and those that it could adopt.

    Shape: latest states, in no order; what another controller owns is left out.
    """
    namespace, uid = owner["metadata"]["namespace"], owner["metadata"]["uid"]
    for entry in _of_namespace(registry, kind, namespace):
        is_own = any(reference.uid == uid for reference in entry.owners)
        if not (is_own or (not entry.owners and selector.matches(entry.labels))):
            continue
        obj = entry.read()
        controller = controller_of(obj)
        if controller is None or controller["uid"] == uid:
            yield obj


async def adopt(
    registry: Registry,
    kind: Kind,
    obj: JsonObject,
    owner: tuple[Kind, JsonObject],
    options: WriteOptions,
) -> None:
    """Make an object without a controller belong to one whose selector it matches."""
    if controller_of(obj) is not None:
        return
    reference = controller_reference(*owner)

    def take(present: JsonObject) -> JsonObject:
        references = present["metadata"].get("ownerReferences") or []
        if controller_of(present) is None:
            present["metadata"]["ownerReferences"] = [*references, reference]
        return present

    await registry.modify(kind, key_of(obj), take, options)


def _of_namespace(registry: Registry, kind: Kind, namespace: str) -> Iterator[Entry]:
    shelf = registry.shelf(kind)
    seen = set()
    # What is committed is sorted by namespace; what is only staged is looked up beside it.
    for entry in shelf.snapshot(namespace):
        seen.add(entry.key)
        latest = shelf.latest.get(entry.key)
        if latest is not None:
            yield latest
    for entry in registry.store.staged(kind.resource):
        if entry.key.namespace == namespace and entry.key not in seen:
            latest = shelf.latest.get(entry.key)
            if latest is not None:
                seen.add(entry.key)
                yield latest


def condition(obj: JsonObject, kind: str) -> Mapping[str, Any]:
    """Give a condition of an object's status; empty when it has none."""
    found: Sequence[Mapping[str, Any]] = (obj.get("status") or {}).get("conditions") or ()
    return next((item for item in found if item.get("type") == kind), {})


def is_true(obj: JsonObject, kind: str) -> bool:
    """Tell whether a condition holds."""
    return condition(obj, kind).get("status") == "True"


def has_ended(pod: JsonObject) -> bool:
    """Tell whether all programs of a pod have ended for good."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def set_condition(status: JsonObject, new: JsonObject, now: str) -> None:
    """Put a condition into a status; its time of transition moves only with its value."""
    conditions: list[JsonObject] = list(status.get("conditions") or ())
    for index, old in enumerate(conditions):
        if old.get("type") != new["type"]:
            continue
        is_same = old.get("status") == new["status"]
        moved = old.get("lastTransitionTime", now) if is_same else now
        conditions[index] = {**old, **new, "lastTransitionTime": moved}
        break
    else:
        conditions.append({**new, "lastTransitionTime": now})
    status["conditions"] = conditions


def parse_time(text: str) -> datetime:
    """Read a time as Kubernetes writes it."""
    return datetime.fromisoformat(text)
