"""Reading what a recording of a link holds."""

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.link_capture import parse_frame, read_segments

TCP = bytes.fromhex("1f90 c350") + bytes(8) + b"\x50" + bytes(7)  # from 8080 to 50000
ETHERNET = bytes(12)


def v4(
    payload: bytes, *, padding: bytes = b"", protocol: int = 6, total: int | None = None
) -> bytes:
    """Make a frame with an IPv4 packet."""
    size = 40 + len(payload) if total is None else total
    head = b"\x45\0" + size.to_bytes(2) + bytes(5) + bytes((protocol,)) + bytes(2)
    return ETHERNET + b"\x08\0" + head + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + TCP + payload + padding


def v6(payload: bytes) -> bytes:
    """Make a frame with an IPv6 packet."""
    size = (20 + len(payload)).to_bytes(2)
    ends = ip_address("fd98::1").packed + ip_address("fd98::2").packed
    return ETHERNET + b"\x86\xdd" + b"\x60\0\0\0" + size + b"\x06\x40" + ends + TCP + payload


@pytest.mark.parametrize(
    ("frame", "source"),
    [
        (v4(b"hello"), "10.0.0.1"),
        (v4(b"hello", padding=bytes(9)), "10.0.0.1"),
        (v4(b"hello", total=0), "10.0.0.1"),
        (v6(b"hello"), "fd98::1"),
    ],
)
def test_payload_of_tcp_is_found(frame: bytes, source: str) -> None:
    """Both families, without the padding of short frames, also when the card segments."""
    segment = parse_frame(frame)
    assert segment is not None
    assert segment.payload == b"hello"
    assert str(segment.source) == source
    assert segment.ports == {8080, 50000}


@pytest.mark.parametrize("frame", [b"", v4(b""), v6(b""), v4(b"x", protocol=17), v4(b"x")[:50]])
def test_what_carries_nothing_is_left_out(frame: bytes) -> None:
    """Bare acknowledgements, other protocols, cut frames."""
    assert parse_frame(frame) is None


@given(st.binary(max_size=120), st.sampled_from([b"", b"\x08\0", b"\x86\xdd"]))
def test_any_frame_is_parsed_or_left_out(rest: bytes, kind: bytes) -> None:
    """Nothing on a wire ends a recording's reader."""
    parse_frame(ETHERNET + kind + rest)


def test_recording_is_read_to_its_last_whole_frame(tmp_path: Path) -> None:
    """TLS is told from plaintext by its record header."""
    frames = [v4(b"\x16\x03\x01hello"), v4(b"\x17\x03\x03data"), v4(b"GET /"), v4(b"")]
    path = tmp_path / "frames"
    path.write_bytes(b"".join(len(f).to_bytes(4) + f for f in frames) + b"\0\0")
    assert [s.looks_like_tls for s in read_segments(path)] == [True, True, False]
