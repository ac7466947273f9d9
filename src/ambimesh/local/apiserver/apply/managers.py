"""managedFields: reading, writing and keeping it small.

Source: k8s.io/apimachinery/pkg/util/managedfields/internal.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal, NamedTuple

from ambimesh.local.apiserver.apply.fields import ApplyError, Paths, from_tree, to_tree

JsonObject = dict[str, Any]
Operation = Literal["Apply", "Update"]

_UPDATE_LIMIT = 10  # managers by Update; older ones become one entry
_ANCIENT = "ancient-changes"


class Identity(NamedTuple):
    """What tells entries apart; an applier is one manager, whatever version it applies with."""

    manager: str
    operation: Operation
    subresource: str = ""
    api_version: str = ""  # empty for Apply

    @property
    def shown(self) -> str:
        """Name the manager as a conflict does."""
        named = f'"{self.manager}"'
        if self.subresource:
            named += f' with subresource "{self.subresource}"'
        return f"{named} using {self.api_version}" if self.operation == "Update" else named


@dataclass(frozen=True, slots=True, kw_only=True)
class Managed:
    """The fields of one manager, and when it last took some."""

    paths: Paths
    api_version: str
    time: str


Managers = dict[Identity, Managed]


def read(entries: object) -> Managers:
    """Read managedFields.

    Errors: ApplyError for what is none.
    """
    if not isinstance(entries, list):
        raise ApplyError("managedFields is a list")
    return dict(_read_entry(entry) for entry in entries)


def read_or_none(entries: object) -> Managers | None:
    """Read managedFields that somebody else wrote; nothing where they cannot be read."""
    try:
        return read(entries) or None
    except ApplyError:
        return None


def _read_entry(entry: object) -> tuple[Identity, Managed]:
    if not isinstance(entry, dict):
        raise ApplyError("an entry of managedFields is an object")
    manager, operation, api_version, time, subresource = (
        entry.get(name) or ""
        for name in ("manager", "operation", "apiVersion", "time", "subresource")
    )
    texts = (manager, api_version, time, subresource)
    if not all(isinstance(text, str) for text in texts) or operation not in ("Apply", "Update"):
        raise ApplyError("an entry of managedFields names its manager and Apply or Update")
    if entry.get("fieldsType", "FieldsV1") != "FieldsV1":
        raise ApplyError("fieldsType is FieldsV1")
    paths = from_tree(entry.get("fieldsV1") or {})
    if operation == "Apply":
        identity = Identity(manager, "Apply", subresource)
    else:
        identity = Identity(manager, "Update", subresource, api_version)
    return identity, Managed(paths=paths, api_version=api_version, time=time)


def write(managers: Managers) -> list[JsonObject]:
    """Write managedFields, appliers first, then by time."""
    entries = sorted(managers.items(), key=_order)
    return [_entry(identity, managed) for identity, managed in entries]


def _order(entry: tuple[Identity, Managed]) -> tuple[str, float, str, str, str]:
    identity, managed = entry
    return (
        identity.operation,
        _seconds(managed.time),
        identity.manager,
        managed.api_version,
        identity.subresource,
    )


def _seconds(time: str) -> float:
    try:
        return datetime.fromisoformat(time).timestamp()
    except (ValueError, OverflowError):
        return 0.0  # a time that a client made up


def _entry(identity: Identity, managed: Managed) -> JsonObject:
    entry: JsonObject = {
        "manager": identity.manager,
        "operation": identity.operation,
        "apiVersion": managed.api_version,
        "time": managed.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": to_tree(managed.paths),
        "subresource": identity.subresource,
    }
    return {name: value for name, value in entry.items() if value != ""}


def without(managers: Managers, paths: Paths, but: Identity | None = None) -> Managers:
    """Take paths from all managers (but one); who owns nothing any more is gone."""
    left = {
        identity: managed if identity == but else replace(managed, paths=managed.paths - paths)
        for identity, managed in managers.items()
    }
    return {identity: managed for identity, managed in left.items() if managed.paths}


def all_paths(managers: Iterable[Managed]) -> Paths:
    """Give what anybody owns."""
    return set().union(*(managed.paths for managed in managers))


def capped(managers: Managers) -> Managers:
    """Join the oldest updaters into one, so that managedFields does not grow without end."""
    updaters = sorted(
        (entry for entry in managers.items() if entry[0].operation == "Update"), key=_order
    )
    kept = dict(managers)
    surplus = len(updaters) - _UPDATE_LIMIT
    for identity, managed in updaters:
        if surplus <= 0:
            break
        bucket = Identity(_ANCIENT, "Update", "", managed.api_version)
        if identity == bucket:
            continue
        del kept[identity]
        joined = kept.get(bucket)
        surplus -= joined is not None  # the first one only changes its name
        paths = managed.paths | (joined.paths if joined else set())
        kept[bucket] = replace(managed, paths=paths)
    return kept
