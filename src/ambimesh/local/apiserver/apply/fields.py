"""Fields of an object as paths, and sets of them as managedFields writes them.

A path is a tuple of steps as FieldsV1 spells them: ``f:<name>`` a member, ``k:{"port":80}`` the
item of a keyed list, ``v:"a"`` an item of a set. Sets of paths are Python sets.

Source: sigs.k8s.io/structured-merge-diff, fieldpath and typed.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from ambimesh.local.apiserver.types.language import List, Map, Scalar, Struct, Type, child

Path = tuple[str, ...]
Paths = set[Path]
Tree = dict[str, Any]


class ApplyError(ValueError):
    """A configuration that no object could take; the text says why."""


def is_granular_map(value: object, type_: Type) -> bool:
    """Whether the members of a value are owned one by one."""
    return isinstance(value, dict) and not (isinstance(type_, Map | Struct) and type_.atomic)


def granular_list(value: object, type_: Type) -> List | None:
    """Give the type of a list whose items are owned one by one, else nothing."""
    if isinstance(value, list) and isinstance(type_, List) and type_.ownership != "atomic":
        return type_
    return None


def item_step(item: Any, type_: List) -> str:
    """Name the item of a keyed list or a set; a default stands in for a key that is absent.

    Errors: ApplyError for an item that has no name.
    """
    if not type_.keys:
        return f"v:{_json(item)}"
    if not isinstance(item, dict):
        raise ApplyError(f"an item of a list with keys is an object, not {_json(item)}")
    names = {key: _key_value(item, key, type_.item) for key in sorted(type_.keys)}
    if all(value is None for value in names.values()):
        raise ApplyError(f"an item has none of its keys: {', '.join(type_.keys)}")
    return f"k:{_json({key: value for key, value in names.items() if value is not None})}"


def _key_value(item: dict[str, Any], key: str, type_: Type) -> Any:
    value = item.get(key)
    if value is None and isinstance(type_, Struct) and key in type_.fields:
        return type_.fields[key].default
    return value


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def owned_by(value: Any, type_: Type) -> Paths:
    """Give the paths that whoever applies this value comes to own.

    Leaves, items of lists, names in maps, and what is claimed empty; not the containers between.
    A live object may hold two items of one name: a node has an InternalIP of each family.
    """
    return set(_leaves(value, type_, ()))


def require_unique(value: Any, type_: Type, path: Path = ()) -> None:
    """Check that a configuration names every item of a keyed list once.

    Errors: ApplyError for an item that is there twice, or has no name.
    """
    if is_granular_map(value, type_):
        for name, member in value.items():
            require_unique(member, child(type_, name), (*path, f"f:{name}"))
    elif keyed := granular_list(value, type_):
        seen = set()
        for item in value:
            step = item_step(item, keyed)
            if step in seen:
                raise ApplyError(f"{dotted((*path, step))} is there twice")
            seen.add(step)
            require_unique(item, keyed.item, (*path, step))


def _leaves(value: Any, type_: Type, path: Path) -> Iterator[Path]:
    if is_granular_map(value, type_):
        for name, member in value.items():
            here = (*path, f"f:{name}")
            is_declared = isinstance(type_, Struct) and name in type_.fields
            if member is None or member == {} or not is_declared:
                yield here
            if member is not None:
                yield from _leaves(member, child(type_, name), here)
    elif keyed := granular_list(value, type_):
        for item in value:
            step = item_step(item, keyed)
            yield (*path, step)
            yield from _leaves(item, keyed.item, (*path, step))
    elif path:
        yield path


def with_containers(paths: Paths, type_: Type) -> Paths:
    """Add every declared field that a path leads through; names in maps and items are not added."""
    added = set(paths)
    for path in paths:
        here = type_
        for depth, step in enumerate(path[:-1]):
            name = step[2:]
            if isinstance(here, Struct) and step.startswith("f:") and name in here.fields:
                added.add(path[: depth + 1])
            here = below(here, step)
    return added


def below(type_: Type, step: str) -> Type:
    """Give the type of what a step leads to."""
    if step.startswith("f:"):
        return child(type_, step[2:])
    return type_.item if isinstance(type_, List) else Scalar(word="string")


def to_tree(paths: Iterable[Path]) -> Tree:
    """Write a set as FieldsV1: nested, with a dot where a path and others below it are members."""
    root: Tree = {}
    for path in sorted(paths, key=len, reverse=True):  # what is below comes first
        here = root
        for step in path:
            here = here.setdefault(step, {})
        if here:
            here["."] = {}
    return root


def from_tree(tree: object) -> Paths:
    """Read FieldsV1.

    Errors: ApplyError for what is none.
    """
    return set(_read(tree, ()))


def _read(tree: object, path: Path) -> Iterator[Path]:
    if not isinstance(tree, dict):
        raise ApplyError("fieldsV1 is made of objects")
    if not tree and path:
        yield path
    for step, deeper in tree.items():
        if step == ".":
            yield path
        elif step[:2] in ("f:", "k:", "v:", "i:"):
            yield from _read(deeper, (*path, step))
        else:
            raise ApplyError(f"fieldsV1 has a step that is none: {step}")


def dotted(path: Path) -> str:
    """Write a path for people: ``.spec.ports[port=80,protocol="TCP"].targetPort``."""
    return "".join(_dotted(step) for step in path)


def _dotted(step: str) -> str:
    name = step[2:]
    if step.startswith("f:"):
        return f".{name}"
    if step.startswith("k:"):
        try:
            keys = json.loads(name)
        except ValueError:
            keys = None
        if isinstance(keys, dict):
            return f"[{','.join(f'{key}={_json(value)}' for key, value in keys.items())}]"
    return f"[={name}]" if step.startswith("v:") else f"[{name}]"
