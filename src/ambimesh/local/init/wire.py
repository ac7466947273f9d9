"""Bytes to and from the messages of an init. Pure; total in both directions."""

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields
from types import NoneType, UnionType
from typing import Any, TypeVar, cast, get_args, get_origin

from ambimesh.local.init.protocol import (
    MAX_DATAGRAM_BYTES,
    OPERATIONS,
    Done,
    Exit,
    Failure,
    Message,
    Refused,
    Request,
)

T = TypeVar("T")


class ProtocolError(ValueError):
    """A datagram is not what the protocol allows; the text says where."""

    def __init__(self, text: str, *, request: int | None = None) -> None:
        super().__init__(text)
        self.request = request  # the number of the request, where it could be read


def encode(message: Message) -> bytes:
    """Give the datagram of ``message``.

    Errors: ``ProtocolError`` when it does not fit into one; nothing is ever cut.
    """
    match message:
        case Request(id=number, operation=operation):
            shape: dict[str, object] = {"id": number, "do": operation.name, "with": operation}
        case Done(id=number, facts=facts):
            shape = {"id": number, "ok": facts}
        case Refused(id=number):
            shape = {"id": number, "error": {k: v for k, v in asdict(message).items() if k != "id"}}
        case Exit():
            shape = {"exited": message}
    data = json.dumps(shape, default=_plain, separators=(",", ":")).encode()
    if len(data) > MAX_DATAGRAM_BYTES:
        raise ProtocolError(f"{len(data)} bytes do not fit a message of {MAX_DATAGRAM_BYTES}")
    return data


def decode(data: bytes) -> Message:
    """Read one datagram.

    Errors: ``ProtocolError`` for whatever is not a message; its ``request`` is set where a
    reply is possible.
    """
    try:
        shape = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("not JSON") from error
    if not isinstance(shape, dict):
        raise ProtocolError("not an object")
    if "exited" in shape:
        return cast("Exit", convert(Exit, shape["exited"], "exited"))
    number = cast("int", convert(int, shape.get("id"), "id"))
    if "do" in shape:
        return _request(number, shape)
    if "ok" in shape:
        return Done(id=number, facts=convert(Mapping[str, Any], shape["ok"], "ok"))
    refusal = convert(Mapping[str, Any], shape.get("error"), "error")
    return cast("Refused", convert(Refused, {**refusal, "id": number}, "error"))


def _request(number: int, shape: Mapping[str, object]) -> Request:
    name = shape["do"]
    kind = OPERATIONS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ProtocolError(f"no operation {name!r}", request=number)
    try:
        return Request(id=number, operation=convert(kind, shape.get("with"), kind.name))
    except ProtocolError as error:
        raise ProtocolError(str(error), request=number) from None


def convert(kind: Any, value: object, where: str) -> Any:
    """Check that ``value`` (parsed JSON) has the type ``kind``, and build it.

    ``kind`` is one of what the messages are made of: text, numbers, ``Failure``, tuples,
    mappings from text, optional values, dataclasses. Unknown fields are refused.
    Errors: ``ProtocolError`` naming the field.
    """
    origin = get_origin(kind)
    if origin is UnionType:  # X | None is the only union
        return None if value is None else convert(_non_none(kind), value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise ProtocolError(f"{where}: not a list")
        (item, _) = get_args(kind)
        return tuple(convert(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if origin is not None:  # Mapping[str, ...]
        if not isinstance(value, dict):
            raise ProtocolError(f"{where}: not an object")
        (_, item) = get_args(kind)
        return {_text(k, where): convert(item, v, f"{where}.{k}") for k, v in value.items()}
    return _scalar(kind, value, where)


def _scalar(kind: Any, value: object, where: str) -> object:
    if kind is Any:
        return value
    if kind is str:
        return _text(value, where)
    if kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif kind in (int, bool):
        if type(value) is kind:
            return value
    elif kind is Failure:
        if value in set(Failure):
            return Failure(cast("str", value))
    else:
        return _dataclass(kind, value, where)
    raise ProtocolError(f"{where}: not {kind.__name__}")


def _dataclass(kind: type[T], value: object, where: str) -> T:
    if not isinstance(value, dict):
        raise ProtocolError(f"{where}: not an object")
    known = {f.name: f for f in fields(cast("Any", kind))}
    for name in value:
        if name not in known:
            raise ProtocolError(f"{where}: unknown field {name!r}")
    given: dict[str, object] = {}
    for name, spec in known.items():
        if name in value:
            given[name] = convert(spec.type, value[name], f"{where}.{name}")
        elif spec.default is MISSING and spec.default_factory is MISSING:
            raise ProtocolError(f"{where}: no field {name!r}")
    return kind(**given)


def _text(value: object, where: str) -> str:
    """Text that can be an argument, a path or a variable: no NUL."""
    if not isinstance(value, str):
        raise ProtocolError(f"{where}: not text")
    if "\0" in value:
        raise ProtocolError(f"{where}: has a NUL character")
    return value


def _non_none(kind: object) -> object:
    return next(member for member in get_args(kind) if member is not NoneType)


def _plain(value: object) -> object:
    """Turn what JSON does not know into what it knows: dataclasses and mappings."""
    if isinstance(value, Mapping):
        return dict(value)
    return {f.name: getattr(value, f.name) for f in fields(cast("Any", value))}
