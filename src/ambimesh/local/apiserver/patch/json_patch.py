"""JSON patch. Source: RFC 6902 (operations), RFC 6901 (pointers)."""

import copy
import re
from collections.abc import Mapping
from typing import Any

from ambimesh.local.apiserver.patch.error import PatchError

_INDEX = re.compile(r"0|[1-9][0-9]*")
_ABSENT: Any = object()


def apply(obj: Any, patch: Any) -> Any:
    """Apply the operations in order; the object given is not changed.

    Errors: PatchError for a malformed patch, a path that does not exist, a failed ``test``.
    """
    if not isinstance(patch, list):
        raise PatchError("a JSON patch is a list of operations")
    document = _Document(copy.deepcopy(obj))
    for operation in patch:
        if not isinstance(operation, dict):
            raise PatchError("each operation of a JSON patch is an object")
        _perform(document, operation)
    return document.root


def _perform(document: "_Document", operation: Mapping[str, Any]) -> None:
    path = _pointer(operation, "path")
    match operation.get("op"):
        case "add":
            document.add(path, _value(operation))
        case "remove":
            document.remove(path)
        case "replace":
            document.replace(path, _value(operation))
        case "test":
            if not is_equal(document.read(path), _value(operation)):
                raise PatchError(f"testing value {path.text} failed")
        case "move":
            source = _pointer(operation, "from")
            if path.parts[: len(source.parts)] == source.parts and path.parts != source.parts:
                raise PatchError(f"cannot move {source.text} into itself")
            document.add(path, document.remove(source))
        case "copy":
            document.add(path, copy.deepcopy(document.read(_pointer(operation, "from"))))
        case other:
            raise PatchError(f"unknown operation {other!r}")


class _Pointer:
    """A path into a document, as text and in parts."""

    def __init__(self, text: str) -> None:
        if text and not text.startswith("/"):
            raise PatchError(f"path {text} does not start with a slash")
        self.text = text
        self.parts = [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _pointer(operation: Mapping[str, Any], member: str) -> _Pointer:
    text = operation.get(member)
    if not isinstance(text, str):
        raise PatchError(f"operation {operation.get('op')!r} lacks {member!r}")
    return _Pointer(text)


def _value(operation: Mapping[str, Any]) -> Any:
    if "value" not in operation:
        raise PatchError(f"operation {operation.get('op')!r} lacks 'value'")
    return copy.deepcopy(operation["value"])


class _Document:
    """A JSON value that is changed in place; ``root`` is what it has become."""

    def __init__(self, root: Any) -> None:
        self.root = root

    def read(self, pointer: _Pointer) -> Any:
        here = self.root
        for part in pointer.parts:
            here = _member(here, part)
            if here is _ABSENT:
                raise PatchError(f"path {pointer.text} does not exist")
        return here

    def add(self, pointer: _Pointer, value: Any) -> None:
        if not pointer.parts:
            self.root = value
            return
        parent, last = self._parent(pointer), pointer.parts[-1]
        if isinstance(parent, list):
            index = len(parent) if last == "-" else _index(last)
            if index is None or index > len(parent):
                raise PatchError(f"path {pointer.text}: no such place in the list")
            parent.insert(index, value)
        else:
            parent[last] = value

    def remove(self, pointer: _Pointer) -> Any:
        removed = self.read(pointer)
        if not pointer.parts:
            self.root = None
            return removed
        parent, last = self._parent(pointer), pointer.parts[-1]
        return parent.pop(int(last) if isinstance(parent, list) else last)

    def replace(self, pointer: _Pointer, value: Any) -> None:
        self.read(pointer)
        if not pointer.parts:
            self.root = value
            return
        parent, last = self._parent(pointer), pointer.parts[-1]
        parent[int(last) if isinstance(parent, list) else last] = value

    def _parent(self, pointer: _Pointer) -> Any:
        here = self.root
        for part in pointer.parts[:-1]:
            here = _member(here, part)
        if not isinstance(here, dict | list):
            raise PatchError(f"path {pointer.text} does not exist")
        return here


def _member(value: Any, part: str) -> Any:
    if isinstance(value, dict):
        return value.get(part, _ABSENT)
    if isinstance(value, list):
        index = _index(part)
        return value[index] if index is not None and index < len(value) else _ABSENT
    return _ABSENT


def _index(text: str) -> int | None:
    # no list is longer than a number of nine digits, and int() of a long text is slow
    return int(text) if _INDEX.fullmatch(text) and len(text) < 10 else None


def is_equal(left: Any, right: Any) -> bool:
    """Compare JSON values: true is not 1, as it is in Python, but 1.0 is 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(is_equal(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(is_equal, left, right))
    return bool(left == right)
