"""A kind that is served in several versions is stored once, under the preferred one.

The fields are the same in all versions; only ``apiVersion`` differs, and it comes first in the
encoded object because keys are sorted.
"""

from ambimesh.local.apiserver.store.entry import Entry, JsonObject
from ambimesh.local.apiserver.types.kinds import KINDS, Kind

_HEAD = b'{"apiVersion":"'
_PREFERRED: dict[str, Kind] = {}
for _kind in KINDS:
    _PREFERRED.setdefault(_kind.resource, _kind)


def preferred(kind: Kind) -> Kind:
    """Give the kind in the version in which its objects are stored."""
    return _PREFERRED[kind.resource]


def resources() -> dict[str, tuple[str, ...]]:
    """Give every stored resource, and the fields that selectors may name."""
    return {resource: kind.selectable_fields for resource, kind in _PREFERRED.items()}


def show(kind: Kind, data: bytes) -> bytes:
    """Give an encoded object in the version of ``kind``."""
    if preferred(kind) is kind:
        return data
    end = data.index(b'"', len(_HEAD))
    return _HEAD + kind.api_version.encode() + data[end:]


def read(kind: Kind, entry: Entry) -> JsonObject:
    """Decode a fresh copy of an object in the version of ``kind``."""
    obj = entry.read()
    obj["apiVersion"] = kind.api_version
    return obj
