"""Check an object against the types of its kind."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from ambimesh.local.apiserver.types import cause as causes
from ambimesh.local.apiserver.types.cause import Cause
from ambimesh.local.apiserver.types.formats import FORMATS
from ambimesh.local.apiserver.types.kinds import Kind
from ambimesh.local.apiserver.types.language import Anything, List, Map, Scalar, Struct, Type
from ambimesh.local.apiserver.types.rules import broken_rules

JsonObject = dict[str, Any]
Mode = Literal["Strict", "Warn", "Ignore"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """An object that was looked at: usable when there are no causes."""

    obj: JsonObject
    warnings: tuple[str, ...] = ()  # 'unknown field "spec.bogus"'; only in mode ``Warn``
    causes: tuple[Cause, ...] = ()


def check(kind: Kind, obj: JsonObject, mode: Mode = "Warn", *, is_whole: bool = True) -> Checked:
    """Check types, choices, bounds, required fields and the rules between fields.

    Total: any JSON value gives an answer. The object is not changed and unknown fields stay in it;
    they are warnings, causes under ``Strict``, or nothing. A wrong type is a cause that names the
    path and the expected type. With ``is_whole`` false, as for a configuration to apply, nothing
    need be there and only what is there is checked.
    """
    look = _Look(is_whole=is_whole, is_custom=kind.custom)
    look.value(obj, kind.schema, "")
    found = look.causes
    if is_whole and not found:
        found = list(broken_rules(kind, obj))
    unknown = tuple(f'unknown field "{path}"' for path in look.unknown)
    if mode == "Strict":
        found += [causes.forbidden(path, "unknown field") for path in look.unknown]
    return Checked(obj=obj, warnings=unknown if mode == "Warn" else (), causes=tuple(found))


class _Look:
    """Walks an object beside its type, as deep as types go."""

    def __init__(self, *, is_whole: bool, is_custom: bool) -> None:
        self.causes: list[Cause] = []
        self.unknown: list[str] = []
        self._is_whole = is_whole
        self._is_custom = is_custom

    def value(self, value: object, type_: Type, path: str) -> None:
        """Check one value; null stands for an absent field and is looked at by the struct."""
        match type_:
            case Anything():
                return
            case Scalar():
                self._scalar(value, type_, path)
            case List():
                self._list(value, type_, path)
            case Map():
                self._map(value, type_, path)
            case Struct():
                self._struct(value, type_, path)

    def _struct(self, value: object, type_: Struct, path: str) -> None:
        if not isinstance(value, dict):
            self.causes.append(causes.wrong_type(path, value, "object"))
            return
        prefix = f"{path}." if path else ""
        for name, member in value.items():
            known = type_.fields.get(name)
            if known is None:
                self.unknown.append(f"{prefix}{name}")
            elif member is not None:
                self.value(member, known.type, f"{prefix}{name}")
        if self._is_whole:
            self.causes += [
                causes.required(f"{prefix}{name}")
                for name, known in type_.fields.items()
                if known.is_required and value.get(name) is None
            ]

    def _map(self, value: object, type_: Map, path: str) -> None:
        if not isinstance(value, dict):
            self.causes.append(causes.wrong_type(path, value, "object"))
            return
        self._size(len(value), type_, path)
        for name, member in value.items():
            if member is not None:
                self.value(member, type_.item, f"{path}.{name}")

    def _list(self, value: object, type_: List, path: str) -> None:
        if not isinstance(value, list):
            self.causes.append(causes.wrong_type(path, value, "array"))
            return
        self._size(len(value), type_, path)
        for index, item in enumerate(value):
            self.value(item, type_.item, f"{path}[{index}]")
        if self._is_custom and type_.ownership != "atomic":
            self._repeated(value, type_, path)

    def _repeated(self, items: list[Any], type_: List, path: str) -> None:
        seen = set()
        for index, item in enumerate(items):
            have: object = item
            if type_.keys:
                have = (
                    {key: item.get(key) for key in type_.keys} if isinstance(item, dict) else None
                )
            name = json.dumps(have, sort_keys=True)
            if have is not None and name in seen:
                self.causes.append(causes.duplicate(f"{path}[{index}]", have))
            seen.add(name)

    def _size(self, size: int, type_: List | Map, path: str) -> None:
        bounds = type_.bounds
        if bounds is None:
            return
        if bounds.high is not None and size > bounds.high:
            self.causes.append(causes.too_many(path, size, bounds.high))
        if bounds.low is not None and size < bounds.low:
            why = f"should have at least {bounds.low} items"
            self.causes.append(causes.invalid(path, size, why))

    def _scalar(self, value: object, type_: Scalar, path: str) -> None:
        format_ = FORMATS[type_.word]
        if not format_.is_type_of(value):
            self.causes.append(causes.wrong_type(path, value, format_.expected))
        elif type_.choices and value not in type_.choices:
            self.causes.append(causes.unsupported(path, value, type_.choices))
        elif isinstance(value, str):
            self.causes += _wrong_text(value, type_, path)
        elif not isinstance(value, bool):
            self.causes += _wrong_number(value, type_, path)


def _wrong_text(value: str, type_: Scalar, path: str) -> Iterator[Cause]:
    format_ = FORMATS[type_.word]
    if format_.pattern and not format_.pattern.fullmatch(value):
        yield causes.invalid(path, value, f"must be {format_.example}")
    if type_.bounds is None or int in format_.python:
        return  # the bounds of int-or-string are those of the number
    low, high = type_.bounds.low, type_.bounds.high
    if high is not None and len(value) > high:
        yield causes.too_long(path, high)
    if low is not None and len(value) < low:
        yield causes.invalid(path, value, f"should be at least {low} characters long")


def _wrong_number(value: Any, type_: Scalar, path: str) -> Iterator[Cause]:
    bounds, limits = type_.bounds, FORMATS[type_.word].limits
    if limits and not limits[0] <= value <= limits[1]:
        yield causes.invalid(path, value, f"must be between {limits[0]} and {limits[1]}, inclusive")
    elif bounds and bounds.low is not None and bounds.high is not None:
        if not bounds.low <= value <= bounds.high:
            why = f"must be between {bounds.low} and {bounds.high}, inclusive"
            yield causes.invalid(path, value, why)
    elif bounds and bounds.low is not None and value < bounds.low:
        yield causes.invalid(path, value, f"must be greater than or equal to {bounds.low}")
    elif bounds and bounds.high is not None and value > bounds.high:
        yield causes.invalid(path, value, f"must be less than or equal to {bounds.high}")


class _Members(list[tuple[str, Any]]):
    """The members of one JSON object, repeated ones included."""


def duplicates(text: bytes) -> tuple[str, ...]:
    """Name the fields that a JSON object repeats: ``duplicate field "data.a"``.

    Errors: ValueError for what is not JSON.
    """
    try:
        return tuple(_repeated_members(json.loads(text, object_pairs_hook=_Members), ""))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _repeated_members(value: object, path: str) -> Iterator[str]:
    if isinstance(value, _Members):
        seen = set()
        for name, member in value:
            where = f"{path}.{name}" if path else name
            if name in seen:
                yield f'duplicate field "{where}"'
            seen.add(name)
            yield from _repeated_members(member, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _repeated_members(item, f"{path}[{index}]")


__all__ = ["Cause", "Checked", "Mode", "check", "duplicates"]
