"""Strategic merge patch: a merge patch that finds the items of lists by their key.

A patch may hold directives beside values: ``$patch: replace|delete`` in an object or a list,
``$retainKeys`` (drop all other fields), ``$setElementOrder/<list>`` and
``$deleteFromPrimitiveList/<list>``.

Source: k8s.io/apimachinery/pkg/util/strategicpatch, which kubectl calculates its patches with.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ambimesh.local.apiserver.patch.error import PatchError
from ambimesh.local.apiserver.types.language import List, Type, child

JsonObject = dict[str, Any]

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_FROM = "$deleteFromPrimitiveList/"


def apply(obj: Any, patch: Any, type_: Type) -> Any:
    """Lay the patch over the object; the object given is not changed.

    Errors: PatchError for a directive that makes no sense and an item without its key.
    """
    if not isinstance(patch, dict):
        raise PatchError("a strategic merge patch is an object")
    return _merge(obj if isinstance(obj, dict) else {}, patch, type_)


def _merge(current: JsonObject, patch: JsonObject, type_: Type) -> JsonObject:
    if _PATCH in patch:
        return _replacement(patch, type_)
    merged = _retained(current, patch)
    for name, value in patch.items():
        if name.startswith(_DELETE_FROM):
            _delete_from_list(merged, name.removeprefix(_DELETE_FROM), value)
        elif name == _RETAIN or name.startswith(_ORDER):
            continue
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_value(merged.get(name), value, child(type_, name))
    for name, order in patch.items():
        if name.startswith(_ORDER):
            field = name.removeprefix(_ORDER)
            items = _Items.of(child(type_, field), name)
            if isinstance(merged.get(field), list):
                wanted = items.order(order, patch.get(field))
                merged[field] = items.sorted(merged[field], wanted, current.get(field))
    return merged


def _replacement(patch: JsonObject, type_: Type) -> JsonObject:
    match patch[_PATCH]:
        case "replace":
            rest = {name: value for name, value in patch.items() if name != _PATCH}
            return _merge({}, rest, type_)
        case "delete":
            return {}
        case other:
            raise PatchError(f"{_PATCH}: {other!r} is neither replace nor delete")


def _retained(current: JsonObject, patch: JsonObject) -> JsonObject:
    if _RETAIN not in patch:
        return dict(current)
    retained = patch[_RETAIN]
    if not isinstance(retained, list):
        raise PatchError(f"{_RETAIN} is a list of fields")
    for name, value in patch.items():
        if value is not None and not name.startswith("$") and name not in retained:
            raise PatchError(f"{_RETAIN} does not name {name}, which the patch sets")
    return {name: value for name, value in current.items() if name in retained}


def _merge_value(current: Any, value: Any, type_: Type) -> Any:
    if isinstance(value, dict):
        return _merge(current if isinstance(current, dict) else {}, value, type_)
    if not isinstance(value, list):
        return value
    if isinstance(type_, List) and type_.is_merged:
        return _Items(type_).merge(current if isinstance(current, list) else [], value)
    return [item for item in value if not _is_directive(item)]


def _delete_from_list(merged: JsonObject, field: str, values: Any) -> None:
    if not isinstance(values, list):
        raise PatchError(f"{_DELETE_FROM}{field} is a list of values")
    if isinstance(merged.get(field), list):
        merged[field] = [item for item in merged[field] if item not in values]


def _is_directive(item: Any) -> bool:
    return isinstance(item, dict) and _PATCH in item


@dataclass(frozen=True, slots=True)
class _Items:
    """How the items of one list are named, merged and sorted."""

    type_: List

    @classmethod
    def of(cls, type_: Type, directive: str) -> "_Items":
        """Take the type of the list that a directive is about."""
        if isinstance(type_, List) and type_.is_merged:
            return cls(type_)
        raise PatchError(f"{directive}: not a list that is merged")

    def merge(self, current: list[Any], patch: list[Any]) -> list[Any]:
        """Lay the items of a patch over those there are."""
        deleted, is_replaced = [], False
        for item in filter(_is_directive, patch):
            match item[_PATCH]:
                case "replace":
                    is_replaced = True
                case "delete":
                    deleted.append(self._name(item))
                case other:
                    raise PatchError(f"{_PATCH}: {other!r} is neither replace nor delete")
        items = [item for item in patch if not _is_directive(item)]
        kept = [] if is_replaced else [i for i in current if self._name(i) not in deleted]
        merged = list(kept)
        for item in items:
            name = self._name(item)
            place = next((n for n, have in enumerate(merged) if self._name(have) == name), None)
            if place is None:
                merged.append(_merge_value(None, item, self.type_.item))
            else:
                merged[place] = _merge_value(merged[place], item, self.type_.item)
        return self.sorted(merged, [self._name(item) for item in items], kept)

    def order(self, order: Any, patch: Any) -> list[Any]:
        """Give the wanted order, after a look whether the patch itself keeps to it."""
        if not isinstance(order, list):
            raise PatchError(f"{_ORDER} is a list of items")
        wanted = [self._name(item) for item in order]
        items = patch if isinstance(patch, list) else []
        patched = [self._name(item) for item in items if not _is_directive(item)]
        if [name for name in wanted if name in patched] != list(_unique(patched)):
            raise PatchError(f"{_ORDER} does not have the items of the patch in its order")
        return wanted

    def sorted(self, items: list[Any], wanted: list[Any], served: Any) -> list[Any]:
        """Put items into the wanted order, the others before what they were before on the server."""
        server = [self._name(item) for item in served] if isinstance(served, list) else []
        named = [item for item in items if self._name(item) in wanted]
        named.sort(key=lambda item: wanted.index(self._name(item)))
        others = [item for item in items if self._name(item) not in wanted]
        others.sort(key=lambda item: _place(server, self._name(item)))
        return list(self._interleaved(others, named, server))

    def _interleaved(self, others: list[Any], named: list[Any], server: list[Any]) -> Iterator[Any]:
        waiting = list(reversed(others))
        for item in named:
            here = _place(server, self._name(item))
            while here < len(server) and waiting:
                if _place(server, self._name(waiting[-1])) >= here:
                    break
                yield waiting.pop()
            yield item
        yield from reversed(waiting)

    def _name(self, item: Any) -> Any:
        key = self.type_.merge_key
        if not key:
            return item
        if not isinstance(item, Mapping) or key not in item:
            raise PatchError(f"an item does not contain the merge key {key}: {item!r}")
        return item[key]


def _place(names: list[Any], name: Any) -> int:
    """Give the index of a name, behind all others when it is not there."""
    return names.index(name) if name in names else len(names)


def _unique(names: list[Any]) -> Iterator[Any]:
    return (name for n, name in enumerate(names) if name not in names[:n])
