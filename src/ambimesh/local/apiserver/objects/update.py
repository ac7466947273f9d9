"""From an old object and a proposal to the new object, or to nothing when nothing changes."""

from dataclasses import dataclass

from ambimesh.local.apiserver.apply import ownership
from ambimesh.local.apiserver.objects.examine import complaints, examine, require_kind
from ambimesh.local.apiserver.objects.options import WriteOptions
from ambimesh.local.apiserver.objects.traits import admit_change
from ambimesh.local.apiserver.status import MODIFIED, bad_request, conflict
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.types import defaults
from ambimesh.local.apiserver.types.kinds import Kind

# Restored without a word when a client changes them.
_FIXED = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
    "selfLink",
    "generation",
    "resourceVersion",
)

# As a real server: of these, agents of nodes annotate what they report.
_ANNOTATED_BY_STATUS = frozenset({"Node", "Pod"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One change of one object, through one door."""

    kind: Kind
    old: JsonObject
    door: str  # "" for the object itself, or the subresource
    options: WriteOptions
    now: str
    is_owned: bool  # server-side apply has settled the managed fields already
    is_partial: bool  # a patch: what was unknown before is not the caller's doing


def revise(revision: Revision, proposed: JsonObject) -> tuple[JsonObject | None, tuple[str, ...]]:
    """Give the new object, or None when nothing changes; and warnings.

    Errors: StatusError 400, 409, 422.
    """
    kind, old = revision.kind, revision.old
    require_kind(kind, proposed)
    _require_same_object(kind, old, proposed)
    known = complaints(kind, old) if revision.is_partial else frozenset()
    new, warnings = examine(kind, proposed, revision.options.validation, known)
    new = defaults.prune(kind, new)
    _restore(old, new)
    new = _through_door(revision, new)
    new = defaults.fill(kind, new)
    if not revision.door:
        admit_change(kind, old, new)
    if not revision.is_owned:
        new = _own(revision, new)
    if _is_spec_changed(old, new):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
    if timeless(new) == timeless(old):
        return None, warnings
    return new, warnings


def _require_same_object(kind: Kind, old: JsonObject, proposed: JsonObject) -> None:
    before, after = old["metadata"], proposed["metadata"]
    name = before["name"]
    if after.get("name") not in (None, "", name):
        raise bad_request(
            f"the name of the object ({after['name']}) does not match the name on the URL ({name})"
        )
    if after.get("namespace") not in (None, "", before.get("namespace", "")):
        raise bad_request(
            f"the namespace of the object ({after['namespace']}) does not match the namespace"
            f" on the URL ({before.get('namespace', '')})"
        )
    if after.get("uid") not in (None, "", before["uid"]):
        raise conflict(
            kind,
            name,
            f"Precondition failed: UID in precondition: {after['uid']},"
            f" UID in object meta: {before['uid']}",
        )
    if after.get("resourceVersion") not in (None, "", before["resourceVersion"]):
        raise conflict(kind, name, MODIFIED)


def _restore(old: JsonObject, new: JsonObject) -> None:
    before, after = old["metadata"], new["metadata"]
    for field in _FIXED:
        after.pop(field, None)
        if field in before:
            after[field] = before[field]
    if "managedFields" not in after and "managedFields" in before:
        after["managedFields"] = before["managedFields"]
    if "deletionTimestamp" in before:  # nothing new may hold up a deletion
        kept = before.get("finalizers", [])
        finalizers = [name for name in after.get("finalizers", []) if name in kept]
        after.pop("finalizers", None)
        if finalizers:
            after["finalizers"] = finalizers


def _through_door(revision: Revision, new: JsonObject) -> JsonObject:
    """Keep of the proposal what its door may change: status, or all but status."""
    old, door = revision.old, revision.door
    if "status" not in revision.kind.subresources or door == "binding":
        return new
    if door == "status":
        metadata = dict(old["metadata"])
        if "managedFields" in new["metadata"]:
            metadata["managedFields"] = new["metadata"]["managedFields"]
        if revision.kind.kind in _ANNOTATED_BY_STATUS:
            for field in ("annotations", "labels"):
                metadata.pop(field, None)
                if field in new["metadata"]:
                    metadata[field] = new["metadata"][field]
        kept = {field: value for field, value in old.items() if field != "status"}
        status = {"status": new["status"]} if "status" in new else {}
        return {**kept, **status, "metadata": metadata}
    if "status" in old:
        new["status"] = old["status"]
    else:
        new.pop("status", None)
    return new


def _own(revision: Revision, new: JsonObject) -> JsonObject:
    return ownership.update(
        revision.old,
        new,
        manager=revision.options.manager,
        subresource=revision.door,
        api_version=revision.kind.api_version,
        time=revision.now,
        kind=revision.kind,
    )


def _is_spec_changed(old: JsonObject, new: JsonObject) -> bool:
    if "spec" not in new and "spec" not in old:
        return False
    rest = ("metadata", "status")
    return {k: v for k, v in old.items() if k not in rest} != {
        k: v for k, v in new.items() if k not in rest
    }


def timeless(obj: JsonObject) -> JsonObject:
    """Give the object without the times of its managed fields: those alone are no change."""
    metadata = dict(obj["metadata"])
    if "managedFields" in metadata:
        metadata["managedFields"] = [
            {k: v for k, v in entry.items() if k != "time"} for entry in metadata["managedFields"]
        ]
    return {**obj, "metadata": metadata}
