"""What a DELETE does to an object: remove it, mark it, or nothing more than was done before."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ambimesh.local.apiserver.builtin import NAMESPACES, PODS
from ambimesh.local.apiserver.objects.options import DeleteOptions, timestamp
from ambimesh.local.apiserver.status import conflict, forbidden
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.types.kinds import Kind

ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
DEFAULT_GRACE_SECONDS = 30
# Kubernetes protects the first three; without the last, this machine has no mesh.
_IMMORTAL = frozenset({"default", "kube-public", "kube-system", "istio-system"})


@dataclass(frozen=True, slots=True)
class Decision:
    """The object after the DELETE; gone, marked, or unchanged."""

    obj: JsonObject
    is_gone: bool
    is_changed: bool


def decide(kind: Kind, obj: JsonObject, options: DeleteOptions, now: datetime) -> Decision:
    """Decide about one object; changes and gives the copy it was handed.

    Errors: StatusError 409 when a precondition does not hold; 403 for a namespace that the
    mesh cannot be without.
    """
    _require_preconditions(kind, obj, options)
    if kind is NAMESPACES and obj["metadata"]["name"] in _IMMORTAL:
        raise forbidden(kind, obj["metadata"]["name"], "this namespace may not be deleted")
    metadata = obj["metadata"]
    was_marked = "deletionTimestamp" in metadata
    grace = _grace_seconds(kind, obj, options)
    is_held = _hold(obj, options)
    is_shorter = was_marked and grace < metadata.get("deletionGracePeriodSeconds", 0)
    if not was_marked or is_shorter:
        metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
    if not was_marked and "generation" in metadata:
        metadata["generation"] += 1
    if kind is NAMESPACES:
        obj["status"] = {**obj.get("status", {}), "phase": "Terminating"}
    return Decision(obj, is_finished(kind, obj), not was_marked or is_shorter or is_held)


def is_finished(kind: Kind, obj: JsonObject) -> bool:
    """Tell whether an object that is being deleted has nothing left that holds it."""
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
        return False
    if kind is NAMESPACES:
        return not obj.get("spec", {}).get("finalizers")
    # A pod that runs on a node is removed by its node agent, with a grace of zero.
    return kind is not PODS or not metadata.get("deletionGracePeriodSeconds")


def _require_preconditions(kind: Kind, obj: JsonObject, options: DeleteOptions) -> None:
    metadata = obj["metadata"]
    for field, wanted, have in (
        ("UID", options.uid, metadata["uid"]),
        ("ResourceVersion", options.resource_version, metadata["resourceVersion"]),
    ):
        if wanted is not None and wanted != have:
            why = (
                f"Precondition failed: {field} in precondition: {wanted},"
                f" {field} in object meta: {have}"
            )
            raise conflict(kind, metadata["name"], why)


def _grace_seconds(kind: Kind, obj: JsonObject, options: DeleteOptions) -> int:
    if kind is not PODS:
        return 0
    spec = obj.get("spec", {})
    has_ended = obj.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if not spec.get("nodeName") or has_ended:
        return 0
    if options.grace_seconds is not None:
        return max(options.grace_seconds, 0)
    grace: int = spec.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS)
    return grace


def _hold(obj: JsonObject, options: DeleteOptions) -> bool:
    """Add the finalizer that makes the garbage collector see to the dependants first."""
    name = {"Orphan": ORPHAN, "Foreground": FOREGROUND}.get(options.propagation or "")
    finalizers = obj["metadata"].get("finalizers", [])
    if name is None or name in finalizers:
        return False
    obj["metadata"]["finalizers"] = [*finalizers, name]
    return True
