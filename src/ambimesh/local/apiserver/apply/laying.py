"""Laying a configuration over an object, and taking fields out again.

Source: sigs.k8s.io/structured-merge-diff, typed/merge.go and typed/remove.go.
"""

from collections.abc import Container
from typing import Any

from ambimesh.local.apiserver.apply.fields import (
    Paths,
    Tree,
    granular_list,
    is_granular_map,
    item_step,
    to_tree,
)
from ambimesh.local.apiserver.types.language import List, Type, child

_ABSENT: Any = object()


def lay_over(live: Any, config: Any, type_: Type) -> Any:
    """Lay a configuration over what is there; neither is changed, the result may share with both.

    Errors: ApplyError for an item without a name.
    """
    if is_granular_map(live, type_) and (config is None or isinstance(config, dict)):
        merged = dict(live)
        for name, value in (config or {}).items():
            if name in live:
                merged[name] = lay_over(live[name], value, child(type_, name))
            else:
                merged[name] = value
        return merged
    keyed = granular_list(live, type_)
    if keyed and (config is None or isinstance(config, list)):
        return _lay_over_items(live, config or [], keyed)
    return config


def _lay_over_items(live: list[Any], config: list[Any], type_: List) -> list[Any]:
    """Merge keyed items: the applied order, the server's own items before what followed them."""
    there = [(item_step(item, type_), item) for item in live]
    applied = [(item_step(item, type_), item) for item in config]
    served = dict(reversed(there))  # the first of those with one name
    wanted = dict(applied)
    awaited = [step for step, _ in applied if step in served]  # in both, in the applied order
    merged: list[Any] = []
    placed: set[str] = set()
    at_live = at_applied = 0
    while at_live < len(there) or at_applied < len(applied):
        live_step = there[at_live][0] if at_live < len(there) else None
        applied_step = applied[at_applied][0] if at_applied < len(applied) else None
        if live_step is not None and live_step not in wanted:
            merged.append(there[at_live][1])
            at_live += 1
            continue
        is_same = live_step == applied_step
        if live_step and applied_step and not is_same and awaited and live_step != awaited[0]:
            at_live += 1  # it is put, or was put, where the configuration has it
            continue
        at_live += is_same or live_step in placed
        if applied_step is not None:
            below = served.get(applied_step, _ABSENT)
            merged.append(_laid(below, wanted[applied_step], type_.item))
            placed.add(applied_step)
            at_applied += 1
            if awaited and awaited[0] == applied_step:
                awaited.pop(0)
    return merged


def _laid(live: Any, config: Any, type_: Type) -> Any:
    return config if live is _ABSENT else lay_over(live, config, type_)


def take_out(value: Any, paths: Paths, type_: Type) -> Any:
    """Give the value without some paths; a container that becomes empty is null from then on."""
    return _take_out(value, to_tree(paths), type_)


def _take_out(value: Any, tree: Tree, type_: Type) -> Any:
    left: Any
    if is_granular_map(value, type_):
        left = {}
        for name, member in value.items():
            rest = _rest(member, tree.get(f"f:{name}"), child(type_, name))
            if rest is not _ABSENT:
                left[name] = rest
    elif keyed := granular_list(value, type_):
        rests = (_rest(i, tree.get(item_step(i, keyed)), keyed.item, keyed.keys) for i in value)
        left = [item for item in rests if item is not _ABSENT]
    else:
        return value
    return left or (value if not value else None)


def _rest(value: Any, node: Tree | None, type_: Type, keys: Container[str] = ()) -> Any:
    if node is None:
        return value
    if not node or "." in node:
        return _ABSENT
    # An item loses its key only together with all the rest, else it could not be found again.
    inner = {step: below for step, below in node.items() if step[2:] not in keys}
    return _take_out(value, inner, type_) if inner else value


def without_nulls(value: Any, type_: Type) -> Any:
    """Give the value without the members that are null, as far as members are owned one by one."""
    if is_granular_map(value, type_):
        return {
            name: without_nulls(member, child(type_, name))
            for name, member in value.items()
            if member is not None
        }
    if keyed := granular_list(value, type_):
        return [without_nulls(item, keyed.item) for item in value]
    return value
