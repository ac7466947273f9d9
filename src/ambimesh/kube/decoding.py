"""JSON of the API server to our structs, one object at a time."""

from typing import Any, Generic, TypeVar

import msgspec

from ambimesh.kube.meta import Metadata, Part, Resource

R = TypeVar("R", bound=Resource)


class ListMetadata(Part, frozen=True):
    """Where a list ends."""

    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class Page(Part, frozen=True):
    """One page of a list, its items not decoded yet."""

    metadata: ListMetadata = ListMetadata()
    items: tuple[msgspec.Raw, ...] | None = None


class WatchEvent(Part, frozen=True):
    """One line of a watch, its object not decoded yet."""

    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"{}")


class Status(Part, frozen=True):
    """The API server's answer when it has no object to give."""

    code: int = 0
    reason: str = ""
    message: str = ""


class OnlyMetadata(Part, frozen=True):
    """An object of any kind, as far as whose it is."""

    metadata: Metadata = Metadata()


METADATA = msgspec.json.Decoder(OnlyMetadata)
PAGE = msgspec.json.Decoder(Page)
WATCH_EVENT = msgspec.json.Decoder(WatchEvent)
STATUS = msgspec.json.Decoder(Status)


class ObjectDecoder(Generic[R]):
    """Decodes objects of one kind.

    ``null`` means absent to Kubernetes: an object with nulls is decoded by a second, slower way.
    """

    def __init__(self, kind: type[R]) -> None:
        self.kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def decode(self, raw: bytes | msgspec.Raw) -> R:
        """Decode one object.

        Errors: ``msgspec.ValidationError`` names the field of a wrong type;
        ``msgspec.DecodeError`` says that it is not JSON at all.
        """
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError:
            plain = without_nulls(msgspec.json.decode(raw))
            return msgspec.convert(plain, self.kind)


def without_nulls(value: Any) -> Any:
    """Drop fields that are null, which to Kubernetes are absent. Nulls in lists stay: errors."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value
