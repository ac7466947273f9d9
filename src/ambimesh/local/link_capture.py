"""Recording what passes a link of a node: the program inside, and reading what it wrote.

Used to show, and to prove in tests, what is on the wire. The program needs only the standard
library and runs in the node's namespaces.
"""

import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

_ETH_ALL = 0x0003
_LENGTH = struct.Struct(">I")
_ETHERNET_BYTES = 14
_IPV4, _IPV6, _TCP = 0x0800, 0x86DD, 6
_RECEIVE_BUFFER_BYTES = 64 << 20
_FRAME_BYTES = 1 << 17
_LAST_FRAMES_SECONDS = 0.5  # what was on the link before the end has been queued by then
_TLS_HANDSHAKE, _TLS_DATA = 22, 23


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """One TCP segment that carried bytes."""

    source: IPv4Address | IPv6Address
    source_port: int
    destination: IPv4Address | IPv6Address
    destination_port: int
    payload: bytes

    @property
    def ports(self) -> frozenset[int]:
        """Both ports, whichever way it went."""
        return frozenset({self.source_port, self.destination_port})

    @property
    def looks_like_tls(self) -> bool:
        """Whether it begins with the header of a TLS record."""
        return self.payload[:2] in {bytes((_TLS_HANDSHAKE, 3)), bytes((_TLS_DATA, 3))}


def read_segments(path: Path) -> Iterator[Segment]:
    """Read a recording; frames that are no TCP, or carry nothing, are left out."""
    data = path.read_bytes()
    at = 0
    while at + _LENGTH.size <= len(data):
        (size,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        segment = parse_frame(data[at : at + size])
        at += size
        if segment is not None:
            yield segment


def parse_frame(frame: bytes) -> Segment | None:
    """Parse an Ethernet frame; ``None`` for everything but TCP with a payload."""
    kind = int.from_bytes(frame[12:14])
    packet = frame[_ETHERNET_BYTES:]
    if kind == _IPV4 and len(packet) >= 20 and packet[9] == _TCP:
        total = int.from_bytes(packet[2:4]) or len(packet)  # 0: segmentation is left to the card
        source, destination = IPv4Address(packet[12:16]), IPv4Address(packet[16:20])
        return _segment(source, destination, packet[(packet[0] & 15) * 4 : total])
    if kind == _IPV6 and len(packet) >= 40 and packet[6] == _TCP:
        source6, destination6 = IPv6Address(packet[8:24]), IPv6Address(packet[24:40])
        return _segment(source6, destination6, packet[40:])
    return None


def _segment(
    source: IPv4Address | IPv6Address, destination: IPv4Address | IPv6Address, tcp: bytes
) -> Segment | None:
    if len(tcp) < 20:
        return None
    payload = tcp[(tcp[12] >> 4) * 4 :]
    if not payload:
        return None
    return Segment(
        source=source,
        source_port=int.from_bytes(tcp[0:2]),
        destination=destination,
        destination_port=int.from_bytes(tcp[2:4]),
        payload=payload,
    )


def main() -> None:
    """Record the frames of a link (first argument) into a file (second) until SIGTERM."""
    link, path = sys.argv[1:3]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with (
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_ALL)) as packets,
        Path(path).open("wb", buffering=1 << 20) as file,
    ):
        with suppress(OSError):
            packets.setsockopt(socket.SOL_SOCKET, 33, _RECEIVE_BUFFER_BYTES)  # SO_RCVBUFFORCE
        packets.bind((link, 0))
        packets.settimeout(0.05)
        os.write(sys.stdout.fileno(), b"READY\n")
        last = float("inf")  # when to stop although frames still come
        while time.monotonic() < last:
            if ended.is_set():
                last = min(last, time.monotonic() + _LAST_FRAMES_SECONDS)
            try:
                frame = packets.recv(_FRAME_BYTES)
            except TimeoutError:
                if ended.is_set():
                    return
                continue
            file.write(_LENGTH.pack(len(frame)) + frame)


if __name__ == "__main__":
    main()
