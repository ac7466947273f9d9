"""Which manager owns which field, and server-side apply.

Source: sigs.k8s.io/structured-merge-diff, merge/update.go, and apimachinery's managedfields.
"""

import json
from dataclasses import dataclass
from typing import Any

from ambimesh.local.apiserver.apply.comparison import Comparison, compare
from ambimesh.local.apiserver.apply.fields import (
    ApplyError,
    Path,
    Paths,
    dotted,
    owned_by,
    require_unique,
    with_containers,
)
from ambimesh.local.apiserver.apply.laying import lay_over, take_out, without_nulls
from ambimesh.local.apiserver.apply.managers import (
    Identity,
    Managed,
    Managers,
    all_paths,
    capped,
    read_or_none,
    without,
    write,
)
from ambimesh.local.apiserver.types.kinds import Kind
from ambimesh.local.apiserver.types.language import Struct

JsonObject = dict[str, Any]

_UNOWNED: Paths = {  # what the server gives, and what names an object
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "creationTimestamp",
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "generation",
            "managedFields",
            "name",
            "namespace",
            "resourceVersion",
            "selfLink",
            "uid",
        )
    ),
}

_KUBECTL = "kubectl"  # as it names itself for server-side apply
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_BEFORE_FIRST_APPLY = "before-first-apply"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """One field that the configuration would take from another manager."""

    manager: str  # '"kubectl-client-side-apply" using v1'
    path: Path

    @property
    def message(self) -> str:
        """What a Status cause says."""
        return f"conflict with {self.manager}"

    @property
    def field(self) -> str:
        """The field as people read it: ``.spec.ports[port=80,protocol="TCP"].targetPort``."""
        return dotted(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflicts:
    """An apply that is refused: without ``force`` nothing is taken from others."""

    conflicts: tuple[Conflict, ...]

    @property
    def message(self) -> str:
        """What the Status says."""
        if len(self.conflicts) == 1:
            only = self.conflicts[0]
            return f"Apply failed with 1 conflict: {only.message}: {only.field}"
        lines = []
        for manager in sorted({conflict.manager for conflict in self.conflicts}):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {c.field}" for c in self.conflicts if c.manager == manager]
        return f"Apply failed with {len(self.conflicts)} conflicts: " + "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The object after an apply, managedFields included. Equal to the old one: nothing to do."""

    obj: JsonObject


def update(
    old: JsonObject | None,
    new: JsonObject,
    *,
    kind: Kind,
    manager: str,
    time: str,
    api_version: str = "",
    subresource: str = "",
) -> JsonObject:
    """Give ``new`` with managedFields after a create, a PUT or a patch that is not an apply.

    ``old`` is ``None`` for a creation. Call it when ``new`` is final: pruned, with defaults.
    ``time`` is RFC 3339; ``api_version`` defaults to that of the kind. managedFields in ``new``
    are taken as the client wrote them, unless they are absent or unreadable. An object that
    nobody tracks stays so. Neither object is changed.
    """
    before, after = _bare(old), _bare(new)
    managers = _written_by_client(old, new, subresource)
    if not managers and old is not None:
        return after
    door = Door(kind=kind, subresource=subresource, api_version=api_version or kind.api_version)
    change = door.compare(before, after)
    identity = Identity(manager, "Update", subresource, door.api_version)
    return _with_managers(after, capped(_updated(managers, identity, change, time)))


def server_side_apply(
    old: JsonObject | None,
    config: JsonObject,
    *,
    kind: Kind,
    manager: str,
    time: str,
    force: bool = False,
    api_version: str = "",
    subresource: str = "",
) -> Applied | Conflicts:
    """Lay a configuration over an object and record who owns what. Neither is changed.

    Defaults are filled in by the caller, afterwards: nobody owns those.

    Errors: ApplyError for a configuration that no object could take.
    """
    if config.get("metadata", {}).get("managedFields"):
        raise ApplyError("metadata.managedFields must be nil")
    door = Door(kind=kind, subresource=subresource, api_version=api_version or kind.api_version)
    applier = _Applier(door=door, identity=Identity(manager, "Apply", subresource), time=time)
    managers = _known_managers(old, door, time)
    live, wanted = _bare(old), door.through(config)
    require_unique(wanted, kind.schema)
    merged, owners, conflicts = applier.apply(live, wanted, managers)
    if manager == _KUBECTL and conflicts:
        allowed = _last_applied(live, kind)
        conflicts = tuple(conflict for conflict in conflicts if conflict.path not in allowed)
    if conflicts and not force:
        return Conflicts(conflicts=conflicts)
    if manager == _KUBECTL:
        merged = _with_last_applied(merged, config)
    return Applied(obj=_with_managers(merged, owners))


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a write comes in: which fields it can reach, and in which version."""

    kind: Kind
    subresource: str
    api_version: str

    def compare(self, old: JsonObject, new: JsonObject) -> Comparison:
        """Compare two states, of what can be owned by those who come through this door."""
        change = compare(old, new, self.kind.schema)
        ignored = {
            path
            for path in change.added | change.modified | change.removed
            if path in _UNOWNED or not self._reaches(path[0])
        }
        return change.without(ignored)

    def through(self, config: JsonObject) -> JsonObject:
        """Give the part of a configuration that this door lets in."""
        return {
            name: value
            for name, value in config.items()
            if name in ("apiVersion", "kind", "metadata") or self._reaches(f"f:{name}")
        }

    def owned(self, config: JsonObject) -> Paths:
        """Give what a configuration owns when it came through this door."""
        paths = owned_by(config, self.kind.schema) - _UNOWNED
        return {path for path in paths if self._reaches(path[0])}

    def _reaches(self, step: str) -> bool:
        if not self.kind.has_status:
            return True
        if self.subresource == "status":
            return step == "f:status"
        return step != "f:status"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applier:
    """One manager that applies configurations through one door."""

    door: Door
    identity: Identity
    time: str

    @property
    def _schema(self) -> Struct:
        return self.door.kind.schema

    def apply(
        self, live: JsonObject, config: JsonObject, managers: Managers
    ) -> tuple[JsonObject, Managers, tuple[Conflict, ...]]:
        """Give the object and its managers as they are when all conflicts are won."""
        previous = managers.get(self.identity)
        api_version = self.door.api_version
        mine = Managed(paths=self.door.owned(config), api_version=api_version, time=self.time)
        owners = {**managers, self.identity: mine}
        merged = lay_over(live, config, self._schema)
        if previous is not None:
            # With what names the object, which no manager owns: else it would go with the rest.
            owned = all_paths(owners.values()) | owned_by(config, self._schema)
            merged = self._dropped(merged, previous.paths, owned)
        change = self.door.compare(live, merged)
        conflicts = self._conflicts(managers, change.set_by_the_change)
        owners = without(owners, change.set_by_the_change, but=self.identity)
        owners = without(owners, change.removed, but=self.identity)
        merged = without_nulls(merged, self._schema)
        if merged == live and previous is not None and _same_owners(owners, managers):
            return merged, managers, conflicts  # nothing changed, so neither does the time
        return merged, owners, conflicts

    def _dropped(self, merged: JsonObject, previous: Paths, owned: Paths) -> JsonObject:
        """Take out what was owned before, is not applied any more and nobody else owns."""
        schema = self._schema
        mine = with_containers(previous, schema)
        there = with_containers(owned_by(merged, schema), schema)
        pruned = take_out(merged, mine, schema)
        kept = with_containers(owned_by(pruned, schema), schema) | with_containers(owned, schema)
        pruned = take_out(merged, there - kept, schema)
        left = with_containers(owned_by(pruned, schema), schema)
        result: JsonObject = take_out(merged, (there - left) & mine, schema)
        return result

    def _conflicts(self, managers: Managers, changed: Paths) -> tuple[Conflict, ...]:
        return tuple(
            Conflict(manager=identity.shown, path=path)
            for identity, managed in sorted(managers.items())
            if identity != self.identity
            for path in sorted(managed.paths & changed)
        )


def _same_owners(left: Managers, right: Managers) -> bool:
    return left.keys() == right.keys() and all(
        left[identity].paths == right[identity].paths
        and left[identity].api_version == right[identity].api_version
        for identity in left
    )


def _updated(managers: Managers, identity: Identity, change: Comparison, time: str) -> Managers:
    """Give what an update changes to its manager alone; what it removes belongs to nobody."""
    changed = change.set_by_the_change
    owners = without(managers, changed | change.removed)
    if not changed:
        return owners
    kept = owners[identity].paths if identity in owners else set()
    taken = Managed(paths=kept | changed, api_version=identity.api_version, time=time)
    return {**owners, identity: taken}


def _written_by_client(old: JsonObject | None, new: JsonObject, subresource: str) -> Managers:
    """Give the managers that a write starts from: the client's, when it wrote readable ones."""
    stored = _managers_of(old)
    entries = new.get("metadata", {}).get("managedFields")
    if subresource or not entries:
        return stored
    if entries == [{}]:
        return {}  # how a client asks for tracking to start anew
    return read_or_none(entries) or stored


def _managers_of(obj: JsonObject | None) -> Managers:
    entries = (obj or {}).get("metadata", {}).get("managedFields")
    return read_or_none(entries) or {}


def _known_managers(old: JsonObject | None, door: Door, time: str) -> Managers:
    """Give who owns what before an apply; what nobody tracked is owned by a stand-in."""
    managers = _managers_of(old)
    if managers or old is None:
        return managers
    stand_in = Identity(_BEFORE_FIRST_APPLY, "Update", "", door.api_version)
    everything = Door(kind=door.kind, subresource="", api_version=door.api_version)
    return _updated({}, stand_in, everything.compare({}, _bare(old)), time)


def _bare(obj: JsonObject | None) -> JsonObject:
    """Give a copy without managedFields, as deep as they are."""
    if obj is None:
        return {}
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        return dict(obj)
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    return {**obj, "metadata": kept}


def _with_managers(obj: JsonObject, managers: Managers) -> JsonObject:
    if not managers:
        return obj
    return {**obj, "metadata": {**obj.get("metadata", {}), "managedFields": write(managers)}}


def _last_applied(live: JsonObject, kind: Kind) -> Paths:
    """Give what client-side apply owned: a first server-side apply by kubectl may take it."""
    text = _annotations(live).get(_LAST_APPLIED)
    try:
        config = json.loads(text) if isinstance(text, str) else None
        return owned_by(config, kind.schema) if isinstance(config, dict) else set()
    except (ValueError, RecursionError):
        return set()


def _with_last_applied(merged: JsonObject, config: JsonObject) -> JsonObject:
    """Keep the annotation of client-side apply in step, where there is one."""
    annotations = _annotations(merged)
    if _LAST_APPLIED not in annotations:
        return merged
    kept = {n: v for n, v in _annotations(config).items() if n != _LAST_APPLIED}
    metadata = {n: v for n, v in config["metadata"].items() if n != "annotations"}
    applied = {**config, "metadata": {**metadata, **({"annotations": kept} if kept else {})}}
    text = json.dumps(applied, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
    return {
        **merged,
        "metadata": {**merged["metadata"], "annotations": {**annotations, _LAST_APPLIED: text}},
    }


def _annotations(obj: JsonObject) -> JsonObject:
    annotations = obj.get("metadata", {}).get("annotations")
    return annotations if isinstance(annotations, dict) else {}


__all__ = ["Applied", "ApplyError", "Conflict", "Conflicts", "server_side_apply", "update"]
