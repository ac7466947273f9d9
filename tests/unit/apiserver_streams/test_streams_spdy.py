"""SPDY/3.1 as kubectl's port-forward speaks it: events from bytes in any pieces."""

import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.apiserver.streams.spdy import (
    DICTIONARY,
    FRAME_LIMIT_BYTES,
    DataReceived,
    Decoder,
    Encoder,
    Event,
    PingReceived,
    SpdyError,
    StreamOpened,
    StreamReset,
)


class _Client:
    """Makes frames as client-go does."""

    def __init__(self) -> None:
        self._deflate = zlib.compressobj(zdict=DICTIONARY)

    def control(self, kind: int, body: bytes, flags: int = 0, version: int = 3) -> bytes:
        return struct.pack(">HHI", 0x8000 | version, kind, flags << 24 | len(body)) + body

    def open(self, stream: int, headers: dict[str, str]) -> bytes:
        text = struct.pack(">I", len(headers))
        for name, value in headers.items():
            for word in (name, value):
                text += struct.pack(">I", len(word)) + word.encode()
        block = self._deflate.compress(text) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
        return self.control(1, struct.pack(">IIH", stream, 0, 0) + block)

    def data(self, stream: int, data: bytes, flags: int = 0) -> bytes:
        return struct.pack(">II", stream, flags << 24 | len(data)) + data


def _conversation() -> tuple[bytes, list[Event]]:
    client = _Client()
    error = {"streamtype": "error", "port": "80", "requestid": "0"}
    data = {**error, "streamtype": "data"}
    sent = (
        client.open(1, error)
        + client.open(3, data)
        + client.data(1, b"", 1)
        + client.data(3, b"hello")
        + client.control(6, struct.pack(">I", 7))
        + client.control(6, struct.pack(">I", 8))  # an answer to a ping of ours: ignored
        + client.control(9, b"whatever")  # a frame that nobody needs: ignored
        + client.control(3, struct.pack(">II", 3, 5))
    )
    return sent, [
        StreamOpened(1, error, is_finished=False),
        StreamOpened(3, data, is_finished=False),
        DataReceived(1, b"", is_finished=True),
        DataReceived(3, b"hello", is_finished=False),
        PingReceived(struct.pack(">I", 7)),
        StreamReset(3),
    ]


@given(st.lists(st.integers(1, 40), min_size=1))
def test_events_do_not_depend_on_the_pieces(sizes: list[int]) -> None:
    """However the bytes are cut, the same events come out."""
    sent, expected = _conversation()
    decoder, found, at = Decoder(), [], 0
    lengths = iter(sizes)
    while at < len(sent):
        size = next(lengths, 1)
        found += list(decoder.feed(sent[at : at + size]))
        at += size

    assert found == expected


@pytest.mark.parametrize(
    "data",
    [
        _Client().control(1, b"short"),
        _Client().control(1, bytes(10) + b"not compressed"),
        _Client().control(6, b"", version=2),
        struct.pack(">II", 1, FRAME_LIMIT_BYTES + 1),
    ],
)
def test_what_is_not_spdy_ends_the_tunnel(data: bytes) -> None:
    """Damage is named, once, and never guessed at."""
    with pytest.raises(SpdyError):
        list(Decoder().feed(data))


def test_headers_that_swell_are_refused() -> None:
    """A few bytes must not become megabytes."""
    client = _Client()

    with pytest.raises(SpdyError):
        list(Decoder().feed(client.open(1, {"x": "a" * 200_000})))


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_an_error(data: bytes) -> None:
    """No input raises anything but the one error."""
    try:
        events: Iterator[Event] = Decoder().feed(data)
        list(events)
    except SpdyError:
        return


def test_replies_and_data_are_read_back() -> None:
    """What we send is what client-go reads: one compressor for all headers."""
    encoder, inflate = Encoder(), zlib.decompressobj(zdict=DICTIONARY)

    replies = [encoder.reply(1), encoder.reply(3)]
    data = encoder.data(3, b"abc", is_finished=True)

    for stream, reply in zip((1, 3), replies, strict=True):
        assert reply[:4] == b"\x80\x03\x00\x02"
        assert int.from_bytes(reply[8:12]) == stream
        assert inflate.decompress(reply[12:]) == bytes(4)
    assert data == struct.pack(">II", 3, 1 << 24 | 3) + b"abc"
    assert encoder.pong(b"\0\0\0\7") == b"\x80\x03\x00\x06\x00\x00\x00\x04\0\0\0\7"
