"""What differs between two states of an object, path by path.

Source: sigs.k8s.io/structured-merge-diff, typed/compare.go.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ambimesh.local.apiserver.apply.fields import (
    ApplyError,
    Path,
    Paths,
    granular_list,
    is_granular_map,
    item_step,
)
from ambimesh.local.apiserver.types.language import ANYTHING, List, Struct, Type, child

_ABSENT: Any = object()


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paths that are new, have another value, or are gone; containers among them."""

    added: Paths = field(default_factory=set)
    modified: Paths = field(default_factory=set)
    removed: Paths = field(default_factory=set)

    @property
    def set_by_the_change(self) -> Paths:
        """What whoever made the change has set."""
        return self.added | self.modified

    def without(self, ignored: Paths) -> "Comparison":
        """Leave some paths out."""
        return Comparison(self.added - ignored, self.modified - ignored, self.removed - ignored)


def compare(old: Any, new: Any, type_: Type) -> Comparison:
    """Compare two values of one type. Total: whatever the values are, there is an answer."""
    found = Comparison()
    _compare(old, new, type_, (), found)
    return found


def _compare(old: Any, new: Any, type_: Type, path: Path, found: Comparison) -> None:
    pairs = _pairs(old, new, type_)
    if pairs is None:
        _compare_leaf(old, new, path, found)
        return
    if path and old is _ABSENT:
        found.added.add(path)
    elif path and new is _ABSENT:
        found.removed.add(path)
    for step, before, after, inner in pairs:
        _compare(before, after, inner, (*path, step), found)


def _compare_leaf(old: Any, new: Any, path: Path, found: Comparison) -> None:
    if old is _ABSENT:
        found.added.add(path)
    elif new is _ABSENT:
        found.removed.add(path)
    elif old != new and not (_is_empty(old) and _is_empty(new)):
        found.modified.add(path)


def _is_empty(value: Any) -> bool:
    return value is None or value in ({}, [])


_Pair = tuple[str, Any, Any, Type]


def _pairs(old: Any, new: Any, type_: Type) -> list[_Pair] | None:
    """Give the parts to compare on their own, or nothing where the value is compared whole."""
    sample = new if new is not _ABSENT and not _is_empty(new) else old
    other = old if sample is new else new
    is_other_like_it = other is _ABSENT or _is_empty(other) or type(other) is type(sample)
    if _is_empty(sample) or sample is _ABSENT or not is_other_like_it:
        return None
    if is_granular_map(sample, type_):
        return list(_member_pairs(old, new, type_))
    if keyed := granular_list(sample, type_):
        return _item_pairs(old, new, keyed)
    return None


def _member_pairs(old: Any, new: Any, type_: Type) -> Iterator[_Pair]:
    before = old if isinstance(old, Mapping) else {}
    after = new if isinstance(new, Mapping) else {}
    for name in (*before, *(name for name in after if name not in before)):
        inner = child(type_, name)
        absent = _absent(type_, name)
        yield (
            f"f:{name}",
            before.get(name, _ABSENT if old is _ABSENT else absent),
            after.get(name, _ABSENT if new is _ABSENT else absent),
            inner,
        )


def _absent(type_: Type, name: str) -> Any:
    """A field that Go always writes is there, and empty, when its object is there."""
    is_always_there = (
        isinstance(type_, Struct) and name in type_.fields and type_.fields[name].is_always_written
    )
    return None if is_always_there else _ABSENT


def _item_pairs(old: Any, new: Any, type_: List) -> list[_Pair] | None:
    try:
        before, after = _by_step(old, type_), _by_step(new, type_)
    except ApplyError:
        return None  # a list that was damaged before it came here: one value
    steps = (*before, *(step for step in after if step not in before))
    return [_item_pair(step, before.get(step, []), after.get(step, []), type_) for step in steps]


def _item_pair(step: str, before: list[Any], after: list[Any], type_: List) -> _Pair:
    """Pair items of one name; where there are several, as addresses of a node, they are one value.

    Source: structured-merge-diff compares duplicates as one atomic value.
    """
    if len(before) <= 1 and len(after) <= 1:
        return step, *(items[0] if items else _ABSENT for items in (before, after)), type_.item
    return step, before or _ABSENT, after or _ABSENT, ANYTHING


def _by_step(items: Any, type_: List) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in items if isinstance(items, list) else ():
        found.setdefault(item_step(item, type_), []).append(item)
    return found
