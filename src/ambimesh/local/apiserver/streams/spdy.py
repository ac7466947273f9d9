"""SPDY/3.1 frames, as far as kubectl's port-forward uses them. Pure.

Source: SPDY Protocol draft 3.1; the dictionary is that of draft 3, section 2.6.10.1. Neither
side uses SPDY's flow control, so what holds a sender back is the connection underneath.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

HEADER_BYTES = 8
FRAME_LIMIT_BYTES = 1 << 20  # kubectl sends 32 KiB
HEADERS_LIMIT_BYTES = 64 << 10  # uncompressed: a small block must not become a large one
FLAG_FIN = 0x01

_CONTROL_BIT = 0x80000000
_VERSION = 3
SYN_STREAM = 1
SYN_REPLY = 2
RST_STREAM = 3
PING = 6
GOAWAY = 7

_WORDS = """options head post put delete trace accept accept-charset accept-encoding
accept-language accept-ranges age allow authorization cache-control connection content-base
content-encoding content-language content-length content-location content-md5 content-range
content-type date etag expect expires from host if-match if-modified-since if-none-match if-range
if-unmodified-since last-modified location max-forwards pragma proxy-authenticate
proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade
user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public
set-cookie keep-alive origin"""
_TAIL = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 "
    "Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 "
    "Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, "
    "Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,"
    "application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,"
    "sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
DICTIONARY = (
    b"".join(
        struct.pack(">I", len(word)) + word.replace("_", " ").encode() for word in _WORDS.split()
    )
    + _TAIL.encode()
)


class SpdyError(Exception):
    """Bytes that are not SPDY/3.1 as we know it; the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class StreamOpened:
    """The client opened a stream."""

    stream: int
    headers: Mapping[str, str]
    is_finished: bool


@dataclass(frozen=True, slots=True)
class DataReceived:
    """The client sent data on a stream; finished: nothing more comes."""

    stream: int
    data: bytes
    is_finished: bool


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The client gave a stream up, in both directions."""

    stream: int


@dataclass(frozen=True, slots=True)
class PingReceived:
    """The client wants the same bytes back."""

    payload: bytes


Event = StreamOpened | DataReceived | StreamReset | PingReceived


@dataclass(slots=True)
class Decoder:
    """Turns bytes, in any pieces, into events."""

    _buffer: bytearray = field(default_factory=bytearray)
    _inflate: "zlib._Decompress" = field(
        default_factory=lambda: zlib.decompressobj(zdict=DICTIONARY)
    )

    def feed(self, data: bytes) -> Iterator[Event]:
        """Give the events that are complete with these bytes.

        Errors: SpdyError.
        """
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            word, rest = struct.unpack_from(">II", self._buffer)
            flags, size = rest >> 24, rest & 0xFFFFFF
            if size > FRAME_LIMIT_BYTES:
                raise SpdyError(f"frame of {size} bytes, the limit is {FRAME_LIMIT_BYTES}")
            if len(self._buffer) < HEADER_BYTES + size:
                return
            body = bytes(self._buffer[HEADER_BYTES : HEADER_BYTES + size])
            del self._buffer[: HEADER_BYTES + size]
            if word & _CONTROL_BIT:
                yield from self._control(word, flags, body)
            else:
                yield DataReceived(word, body, bool(flags & FLAG_FIN))

    def _control(self, word: int, flags: int, body: bytes) -> Iterator[Event]:
        version, kind = (word >> 16) & 0x7FFF, word & 0xFFFF
        if version != _VERSION:
            raise SpdyError(f"SPDY version {version}, not {_VERSION}")
        if kind == SYN_STREAM:
            if len(body) < 10:
                raise SpdyError("short SYN_STREAM")
            stream = int.from_bytes(body[:4]) & 0x7FFFFFFF
            yield StreamOpened(stream, self._headers(body[10:]), bool(flags & FLAG_FIN))
        elif kind == RST_STREAM and len(body) >= 4:
            yield StreamReset(int.from_bytes(body[:4]) & 0x7FFFFFFF)
        elif kind == PING and len(body) == 4 and int.from_bytes(body) % 2:
            yield PingReceived(body)  # the client's are odd; even ones answer ours

    def _headers(self, block: bytes) -> dict[str, str]:
        try:
            text = self._inflate.decompress(block, HEADERS_LIMIT_BYTES)
        except zlib.error as error:
            raise SpdyError(f"damaged headers: {error}") from error
        if self._inflate.unconsumed_tail:
            raise SpdyError(f"headers of more than {HEADERS_LIMIT_BYTES} bytes")
        words = list(_length_prefixed(text))
        return dict(zip(words[::2], words[1::2], strict=True))


def _length_prefixed(text: bytes) -> Iterator[str]:
    """Read a count of pairs, then their names and values."""
    at = 4
    for _ in range(int.from_bytes(text[:4]) * 2):
        size = int.from_bytes(text[at : at + 4])
        at += 4 + size
        if at > len(text) or size > HEADERS_LIMIT_BYTES:
            raise SpdyError("headers end within a word")
        yield text[at - size : at].decode("latin1")


class Encoder:
    """Makes frames; one for all of a connection, because headers share a compressor."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def reply(self, stream: int) -> bytes:
        """Accept a stream."""
        headers = self._deflate.compress(bytes(4)) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return _control(SYN_REPLY, struct.pack(">I", stream) + headers)

    def data(self, stream: int, data: bytes, *, is_finished: bool = False) -> bytes:
        """Send data on a stream."""
        flags = FLAG_FIN if is_finished else 0
        return struct.pack(">II", stream, flags << 24 | len(data)) + data

    def pong(self, payload: bytes) -> bytes:
        """Answer a ping."""
        return _control(PING, payload)


def _control(kind: int, body: bytes) -> bytes:
    return struct.pack(">II", _CONTROL_BIT | _VERSION << 16 | kind, len(body)) + body
