"""Asking the kernel about a namespace's TCP sockets: which are the proxy's, which are opening.

The answer to "is a connection of the proxy left in this pod" comes from the kernel and not from
the proxy, so it is right for a proxy that has crashed as well. Encoding and decoding are pure.

Source: linux/inet_diag.h, linux/sock_diag.h.
"""

import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from ambimesh.node.ports import MARK_MASK
from ambimesh.node.ruleset import Opening

ESTABLISHED, SYN_SENT, SYN_RECV, TIME_WAIT, CLOSE, LISTEN = 1, 2, 3, 6, 7, 10
# TIME-WAIT sockets keep their mark and carry nothing any more; LISTEN carries nothing by itself.
CARRYING = frozenset(range(1, 12)) - {TIME_WAIT, CLOSE, LISTEN}
OPENING = frozenset({SYN_SENT, SYN_RECV})

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_REQ_BYTECODE = 1
_BC_MARK_COND = 10

_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBBI48s")  # family, protocol, extensions, pad, states, socket id
_ANSWER = struct.Struct("=BBBB")  # family, state, timer, retransmissions
_ENDS = struct.Struct("!HH16s16s")  # source port, destination port, source, destination
_ATTRIBUTE = struct.Struct("=HH")
_OPERATION = struct.Struct("=BBH")
_DEADLINE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSocket:
    """One TCP socket as the kernel reports it; mapped addresses are IPv4."""

    state: int
    local: IPv4Address | IPv6Address
    local_port: int
    remote: IPv4Address | IPv6Address
    remote_port: int

    def as_opening(self) -> Opening:
        """Turn the ends so that the client comes first."""
        mine, theirs = (self.local, self.local_port), (self.remote, self.remote_port)
        client, server = (mine, theirs) if self.state == SYN_SENT else (theirs, mine)
        return Opening(
            client=client[0], client_port=client[1], server=server[0], server_port=server[1]
        )


def carrying_sockets(mark: int) -> int:
    """Count the calling thread's namespace's sockets with ``mark`` that can still carry bytes.

    Shape: both families. Blocking: 1 to 2 ms.
    """
    return sum(
        1
        for family in (socket.AF_INET, socket.AF_INET6)
        for _ in _dump(request(family, CARRYING, mark=mark))
    )


def openings() -> tuple[Opening, ...]:
    """List the connections of the calling thread's namespace whose handshake is under way."""
    return tuple(
        found.as_opening()
        for family in (socket.AF_INET, socket.AF_INET6)
        for found in _dump(request(family, OPENING))
    )


def request(family: int, states: frozenset[int], *, mark: int | None = None) -> bytes:
    """Encode a dump request for TCP sockets in ``states``, all or those with ``mark``."""
    bits = sum(1 << state for state in states)
    body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 0, bits, bytes(48))
    if mark is not None:
        code = _mark_filter(mark)
        body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(code), _REQ_BYTECODE) + code
    size = _HEADER.size + len(body)
    return _HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + body


def answers(datagram: bytes) -> tuple[list[TcpSocket], bool]:
    """Decode one datagram of a dump.

    Returns:
        The sockets in it, and whether the dump ends with it.

    Raises:
        OSError: the kernel refused the dump.
        ValueError: the datagram is cut short.
    """
    found: list[TcpSocket] = []
    at = 0
    while at + _HEADER.size <= len(datagram):
        size, kind, *_ = _HEADER.unpack_from(datagram, at)
        body = datagram[at + _HEADER.size : at + size]
        if size < _HEADER.size or at + size > len(datagram):
            raise ValueError("netlink message longer than its datagram")
        if kind in {_NLMSG_DONE, _NLMSG_ERROR}:
            if code := _code(body):
                raise OSError(code, "socket dump refused")
            return found, True
        found.append(_socket(body))
        at += (size + 3) & ~3
    return found, False


def _mark_filter(mark: int) -> bytes:
    """Byte code of one operation: go on behind it (accept) if the mark matches, else refuse."""
    size = _OPERATION.size + 8
    # A jump to just past the end accepts, one further refuses.
    return _OPERATION.pack(_BC_MARK_COND, size, size + 4) + struct.pack("=II", mark, MARK_MASK)


def _code(body: bytes) -> int:
    """Read the error number that an end of a dump carries; 0: it is complete."""
    return -int.from_bytes(body[:4], sys.byteorder, signed=True)


def _socket(body: bytes) -> TcpSocket:
    if len(body) < _ANSWER.size + _ENDS.size:
        raise ValueError("socket description cut short")
    family, state, _, _ = _ANSWER.unpack_from(body)
    source_port, destination_port, source, destination = _ENDS.unpack_from(body, _ANSWER.size)
    return TcpSocket(
        state=state,
        local=_address(family, source),
        local_port=source_port,
        remote=_address(family, destination),
        remote_port=destination_port,
    )


def _address(family: int, raw: bytes) -> IPv4Address | IPv6Address:
    address = ip_address(raw[:4] if family == socket.AF_INET else raw)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


def _dump(message: bytes) -> Iterator[TcpSocket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as link:
        link.settimeout(_DEADLINE_SECONDS)
        link.send(message)
        done = False
        while not done:
            found, done = answers(link.recv(1 << 17))
            yield from found
