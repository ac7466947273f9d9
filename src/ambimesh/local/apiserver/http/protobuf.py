"""Request bodies of kubectl in Kubernetes' protobuf, decoded by a table of field numbers.

``kubectl create namespace`` and its kind send protobuf and do not fall back to JSON. The table
has what those commands write; anything else is refused, never lost.

Source: k8s.io/apimachinery/pkg/runtime/serializer/protobuf for the envelope.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ambimesh.local.apiserver.http.protobuf_table import API_VERSIONS, MESSAGES, Field

JsonObject = dict[str, Any]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"

_MAGIC = b"k8s\x00"
_VARINT, _BYTES = 0, 2  # wire types; nothing else is used in the messages below
_VARINT_BITS_LIMIT = 64


class ProtobufError(ValueError):
    """A body that is refused whole: a message or field we do not know, or damaged bytes."""


def decode_request(body: bytes) -> JsonObject:
    """Decode the envelope and the object in it; what is unknown is refused, never lost.

    Errors: ProtobufError with words for the user; answer with 415.
    """
    if not body.startswith(_MAGIC):
        raise ProtobufError("the body is not in Kubernetes' protobuf envelope")
    envelope = _last_values(body[len(_MAGIC) :])
    identity = _last_values(_as_bytes(envelope.get(1, b"")))
    api_version, kind = (_text(_as_bytes(identity.get(number, b""))) for number in (1, 2))
    if envelope.get(3) or API_VERSIONS.get(kind) != api_version:
        raise ProtobufError(_refusal(f"{kind or 'an object without a kind'} ({api_version})"))
    message = _Message(name=kind, fields={1: _METADATA, **MESSAGES[kind]})
    decoded = message.decode(_as_bytes(envelope.get(2, b"")))
    return {"apiVersion": api_version, "kind": kind, "metadata": {}, **decoded}


def _refusal(what: str) -> str:
    return (
        f"this server does not read {what} in protobuf; "
        "write a manifest (--dry-run=client -o yaml) and use it with -f"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """One message of the table, which decodes itself."""

    name: str
    fields: Mapping[int, Field]

    def decode(self, data: bytes) -> JsonObject:
        """Decode, leaving out what is zero and no pointer."""
        decoded: JsonObject = {}
        for number, raw in _fields(data):
            field = self.fields.get(number)
            if field is None:
                raise ProtobufError(_refusal(f"field {number} of {self.name}"))
            match field.shape:
                case "list":
                    decoded.setdefault(field.name, []).append(_value(field.type, raw))
                case "map":
                    key, value = _entry(field.type, _as_bytes(raw))
                    decoded.setdefault(field.name, {})[key] = value
                case "inline":
                    decoded |= _value(field.type, raw)
                case _:
                    value = _value(field.type, raw)
                    if field.is_pointer or value not in ("", 0, False, {}, None):
                        decoded[field.name] = value
        return decoded


def _value(type_: str, raw: int | bytes) -> Any:
    read = _SCALARS.get(type_)
    if read is not None:
        return read(raw)
    return _Message(name=type_, fields=MESSAGES[type_]).decode(_as_bytes(raw))


def _entry(type_: str, data: bytes) -> tuple[str, Any]:
    pair = _last_values(data)
    return _text(_as_bytes(pair.get(1, b""))), _value(type_, pair.get(2, b""))


def _text(raw: int | bytes) -> str:
    try:
        return _as_bytes(raw).decode()
    except UnicodeDecodeError as error:
        raise ProtobufError("damaged protobuf: a string is not UTF-8") from error


def _integer(raw: int | bytes) -> int:
    value = _as_number(raw)
    return value - (1 << 64) if value >= 1 << 63 else value


def _int_or_string(raw: int | bytes) -> int | str:
    parts = _last_values(_as_bytes(raw))
    if parts.get(1, 0) == 1:
        return _text(_as_bytes(parts.get(3, b"")))
    return _integer(parts.get(2, 0))


def _time(raw: int | bytes) -> str | None:
    seconds = _integer(_last_values(_as_bytes(raw)).get(1, 0))
    try:
        return (
            datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if seconds else None
        )
    except (ValueError, OverflowError, OSError) as error:
        raise ProtobufError(f"damaged protobuf: {seconds} is no time") from error


_SCALARS: Mapping[str, Callable[[int | bytes], Any]] = {
    "string": _text,
    "integer": _integer,
    "boolean": lambda raw: bool(_as_number(raw)),
    "bytes": lambda raw: b64encode(_as_bytes(raw)).decode(),
    "time": _time,
    "int-or-string": _int_or_string,
    "quantity": lambda raw: _text(_last_values(_as_bytes(raw)).get(1, b"")),
    "strings": lambda raw: [_text(value) for _, value in _fields(_as_bytes(raw))],
}


def _as_bytes(raw: int | bytes) -> bytes:
    if isinstance(raw, int):
        raise ProtobufError("damaged protobuf: a number where bytes belong")
    return raw


def _as_number(raw: int | bytes) -> int:
    if isinstance(raw, bytes):
        raise ProtobufError("damaged protobuf: bytes where a number belongs")
    return raw


def _last_values(data: bytes) -> dict[int, int | bytes]:
    return dict(_fields(data))


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Split a message into field numbers and raw values.

    Errors: ProtobufError for bytes that are cut off or of a wire type we do not use.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        value, at = _varint(data, at)
        if wire_type == _VARINT:
            yield number, value
        elif wire_type == _BYTES and at + value <= len(data):
            yield number, data[at : at + value]
            at += value
        else:
            raise ProtobufError(f"damaged protobuf: field {number} has wire type {wire_type}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, _VARINT_BITS_LIMIT + 6, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80 and value < 1 << _VARINT_BITS_LIMIT:
            return value, at
    raise ProtobufError("damaged protobuf: a number is cut off or too long")


_METADATA = Field("metadata", "one", "ObjectMeta", is_pointer=False)
