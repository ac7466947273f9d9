"""How one object looks to a client: as it is, as metadata only, or as a row of a table."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from ambimesh.local.apiserver.http.message import Request
from ambimesh.local.apiserver.http.negotiate import wants_partial, wants_table
from ambimesh.local.apiserver.status import bad_request
from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, JsonObject, encode
from ambimesh.local.apiserver.store.versions import preferred, read, show
from ambimesh.local.apiserver.types import printer
from ambimesh.local.apiserver.types.kinds import Kind

Include = Literal["Metadata", "Object", "None"]


class View:
    """The form in which one request wants its objects."""

    def __init__(self, kind: Kind, request: Request) -> None:
        self.kind = kind
        self.is_table = wants_table(request.accept)
        self.is_partial = not self.is_table and wants_partial(request.accept)
        self._include = _read_include(request)

    @property
    def is_plain(self) -> bool:
        """Whether stored bytes can be sent as they are."""
        return not (self.is_table or self.is_partial)

    def one(self, data: bytes, obj: JsonObject, now: datetime) -> bytes:
        """Show a single object."""
        if self.is_table:
            return encode(self.table([obj], now, {"resourceVersion": version_of(obj)}))
        return encode(partial(obj)) if self.is_partial else data

    def entry(self, entry: Entry, now: datetime) -> bytes:
        """Show a stored object."""
        if self.is_plain:
            return show(self.kind, entry.data)
        return self.one(entry.data, read(self.kind, entry), now)

    def line(self, kind: EventType, event: Event, now: datetime) -> bytes:
        """Show one event of a watch."""
        if self.is_plain and kind is event.kind and preferred(self.kind) is self.kind:
            return event.line
        return watch_line(kind.value, self.entry(event.entry, now))

    def table(
        self, objects: Sequence[JsonObject], now: datetime, metadata: JsonObject
    ) -> dict[str, Any]:
        """Show objects as rows."""
        shown = printer.table(self.kind, objects, now=now, include=self._include)
        shown["metadata"] = metadata
        return shown


def watch_line(kind: str, data: bytes) -> bytes:
    """Give one line of a watch."""
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), data)


def version_of(obj: JsonObject) -> str:
    """Give the version of an object; empty for one that was never stored."""
    return str(obj.get("metadata", {}).get("resourceVersion", ""))


def partial(obj: JsonObject) -> JsonObject:
    """Give the metadata of an object, in the kind that carries only that."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj.get("metadata", {}),
    }


def _read_include(request: Request) -> Include:
    match request.query.get("includeObject") or "Metadata":
        case "Metadata":
            return "Metadata"
        case "Object":
            return "Object"
        case "None":
            return "None"
        case other:
            raise bad_request(f"unrecognized includeObject: {other}")
