"""What the store holds: immutable entries, and the events that replace them."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

JsonObject = dict[str, Any]


class Key(NamedTuple):
    """Names an object within its resource; ``namespace`` is empty for cluster-wide kinds."""

    namespace: str
    name: str


class Owner(NamedTuple):
    """One owner reference, as far as the garbage collector needs it."""

    uid: str
    blocks: bool


class EventType(StrEnum):
    """What happened to an object, in the words of a watch."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


class _OwnerReference(msgspec.Struct):
    uid: str = ""
    blockOwnerDeletion: bool | None = None  # noqa: N815 - the name on the wire


class _Metadata(msgspec.Struct):
    uid: str = ""
    labels: dict[str, str] | None = None
    ownerReferences: list[_OwnerReference] | None = None  # noqa: N815 - the name on the wire


class _Head(msgspec.Struct):
    metadata: _Metadata


_read_head = msgspec.json.Decoder(_Head).decode
_read = msgspec.json.Decoder().decode
_write = msgspec.json.Encoder(order="deterministic").encode


def encode(obj: object) -> bytes:
    """Encode as JSON with sorted keys, so that equal objects are equal bytes."""
    return _write(obj)


def decode(data: bytes) -> JsonObject:
    """Decode an encoded object."""
    obj: JsonObject = _read(data)
    return obj


class Entry:
    """One stored object at one version: the bytes that go on the wire, and what selectors need.

    Invariants: never changed after construction; watches, pages and readers share it.
    """

    __slots__ = ("data", "fields", "key", "labels", "owners", "uid", "version")

    def __init__(self, key: Key, version: int, data: bytes, fields: tuple[str, ...] = ()) -> None:
        head = _read_head(data).metadata
        self.key = key
        self.version = version
        self.data = data
        self.uid = head.uid
        self.labels: Mapping[str, str] = head.labels or {}
        self.owners = tuple(
            Owner(o.uid, bool(o.blockOwnerDeletion)) for o in head.ownerReferences or ()
        )
        self.fields: Mapping[str, str] = select_fields(self.read(), fields) if fields else {}

    def read(self) -> JsonObject:
        """Decode a fresh copy that the caller may change."""
        return decode(self.data)


def select_fields(obj: JsonObject, paths: tuple[str, ...]) -> dict[str, str]:
    """Give the text that field selectors compare, by dotted path; absent fields are empty."""
    return {path: _text(obj, path) for path in paths}


def _text(obj: JsonObject, path: str) -> str:
    here: object = obj
    for step in path.split("."):
        here = here.get(step, "") if isinstance(here, dict) else ""
    if isinstance(here, bool):
        return "true" if here else "false"
    return "" if here is None else str(here)


class Event:
    """One committed change of one object, shared by everyone who watches it."""

    def __init__(self, kind: EventType, entry: Entry, old: Entry | None) -> None:
        self.kind = kind
        self.entry = entry
        self.old = old

    @property
    def version(self) -> int:
        """The store version that this change made."""
        return self.entry.version

    @property
    def size_bytes(self) -> int:
        """What keeping this event costs, roughly: the new object and its encoded line."""
        return 2 * len(self.entry.data)

    @cached_property
    def line(self) -> bytes:
        """The watch line for those who want plain JSON of everything; encoded once."""
        return b'{"type":"%s","object":%s}\n' % (self.kind.encode(), self.entry.data)
