"""The grammar of netlink: messages, attributes, errors. Pure.

Source: Documentation/userspace-api/netlink/intro.rst of the kernel; linux/netlink.h. Numbers
are in the byte order of the machine.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

NLMSG_ERROR = 2
NLMSG_DONE = 3
NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400
NLM_F_REPLACE = 0x100
NLM_F_DUMP = 0x300
_NLM_F_CAPPED = 0x100  # the error carries only the header of the request
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_NLA_TYPE_MASK = 0x3FFF  # without the flags "nested" and "network byte order"
_NLA_F_NESTED = 0x8000

_HEADER = struct.Struct("=IHHII")  # length, kind, flags, sequence, port
_ATTRIBUTE = struct.Struct("=HH")  # length, kind
_CODE = struct.Struct("=i")


class MalformedError(ValueError):
    """Bytes that claim to be netlink are not."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One message from the kernel."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """Give one message, padded so that another may follow."""
    length = _HEADER.size + len(body)
    return _HEADER.pack(length, kind, flags, sequence, 0) + body + _padding(length)


def attribute(kind: int, value: bytes) -> bytes:
    """Give one attribute, padded so that another may follow."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + _padding(length)


def nested(kind: int, attributes: Iterable[bytes]) -> bytes:
    """Give an attribute that holds attributes."""
    return attribute(kind | _NLA_F_NESTED, b"".join(attributes))


def split(data: bytes) -> tuple[Answer, ...]:
    """Split what one receive returned. Errors: ``MalformedError``."""
    answers: list[Answer] = []
    at = 0
    while at < len(data):
        if len(data) - at < _HEADER.size:
            raise MalformedError("a message ends inside its header")
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, at)
        if not _HEADER.size <= length <= len(data) - at:
            raise MalformedError(f"a message says it has {length} bytes")
        answers.append(Answer(kind, flags, sequence, data[at + _HEADER.size : at + length]))
        at += _aligned(length)
    return tuple(answers)


def attributes(data: bytes) -> Mapping[int, bytes]:
    """Read a run of attributes; the last of a kind wins. Errors: ``MalformedError``."""
    found: dict[int, bytes] = {}
    at = 0
    while len(data) - at >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            raise MalformedError(f"an attribute says it has {length} bytes")
        found[kind & _NLA_TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)
    return found


def read_error(answer: Answer) -> tuple[int, str]:
    """Give the errno of an answer (0: done) and the kernel's own words, where it has some."""
    if len(answer.body) < _CODE.size + _HEADER.size:
        raise MalformedError("an error ends inside its header")
    (code,) = _CODE.unpack_from(answer.body)
    text = ""
    if answer.flags & _NLM_F_ACK_TLVS:
        (echoed, *_) = _HEADER.unpack_from(answer.body, _CODE.size)
        shown = _HEADER.size if answer.flags & _NLM_F_CAPPED else _aligned(echoed)
        said = attributes(answer.body[_CODE.size + shown :]).get(_NLMSGERR_ATTR_MSG, b"")
        text = said.rstrip(b"\0").decode(errors="replace")
    return -code, text


def read_done(answer: Answer) -> int:
    """Give the errno with which a list ends (0: it is whole)."""
    if len(answer.body) < _CODE.size:
        return 0
    return -int(_CODE.unpack_from(answer.body)[0])


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def _padding(length: int) -> bytes:
    return b"\0" * (_aligned(length) - length)
