"""Encoding socket dumps and reading their answers."""

import errno
import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ambimesh.node.sockdiag import (
    CARRYING,
    ESTABLISHED,
    LISTEN,
    OPENING,
    SYN_RECV,
    SYN_SENT,
    TIME_WAIT,
    answers,
    request,
)

SOCK_DIAG, DONE, ERROR = 20, 3, 2


def message(kind: int, body: bytes) -> bytes:
    """Frame one netlink message, padded."""
    padding = bytes(-len(body) % 4)
    return struct.pack("=IHHII", 16 + len(body), kind, 2, 1, 0) + body + padding


def description(family: int, state: int, local: str, remote: str) -> bytes:
    """Describe a socket as the kernel does: from port 1000 to port 80."""
    ends = [socket.inet_pton(family, text).ljust(16, b"\0") for text in (local, remote)]
    head = struct.pack("=BBBB", family, state, 0, 0) + struct.pack("!HH", 1000, 80)
    return head + b"".join(ends) + bytes(28)


def test_request_asks_for_states_and_a_mark() -> None:
    """The mark filter is one operation that jumps to the end to accept and beyond to refuse."""
    plain = request(socket.AF_INET, OPENING)
    marked = request(socket.AF_INET6, CARRYING, mark=0x539)

    assert len(plain) == 16 + 56
    assert struct.unpack_from("=I", plain, 20) == ((1 << SYN_SENT) | (1 << SYN_RECV),)
    assert struct.unpack_from("=HHBBHII", marked, 72) == (16, 1, 10, 12, 16, 0x539, 0xFFF)
    assert struct.unpack_from("=I", marked) == (len(marked),)


def test_carrying_states_leave_out_what_carries_nothing() -> None:
    """A listener carries nothing by itself; TIME-WAIT nothing any more."""
    assert not CARRYING & {LISTEN, TIME_WAIT}
    assert ESTABLISHED in CARRYING


def test_answers_reads_every_socket_until_the_end() -> None:
    """Both families, mapped addresses as IPv4, and the end of the dump."""
    first = message(SOCK_DIAG, description(socket.AF_INET, SYN_SENT, "10.0.0.1", "10.0.0.2"))
    second = message(SOCK_DIAG, description(socket.AF_INET6, SYN_RECV, "::ffff:10.0.0.1", "::1"))

    found, done = answers(first + second + message(DONE, bytes(4)))

    assert done
    assert [str(s.local) for s in found] == ["10.0.0.1", "10.0.0.1"]
    assert found[0].as_opening().element == "10.0.0.1 . 1000 . 10.0.0.2 . 80"
    assert found[1].as_opening().element == "::1 . 80 . 10.0.0.1 . 1000"


@pytest.mark.parametrize("kind", [ERROR, DONE])
def test_refusal_is_an_os_error_with_the_kernels_number(kind: int) -> None:
    """A dump may be refused at its start, or break off at its end."""
    with pytest.raises(OSError, match="refused") as refused:
        answers(message(kind, struct.pack("=i", -errno.EPERM)))
    assert refused.value.errno == errno.EPERM


kinds = st.sampled_from([0, DONE, ERROR, SOCK_DIAG])
framed = st.lists(st.builds(message, kinds, st.binary(max_size=80)), max_size=4).map(b"".join)


@given(st.one_of(st.binary(max_size=200), framed))
@example(message(ERROR, b""))
@example(struct.pack("=IHHII", 0, SOCK_DIAG, 0, 0, 0))
def test_any_bytes_are_read_or_refused(datagram: bytes) -> None:
    """Whatever arrives gives sockets, ``ValueError`` or ``OSError``; nothing hangs."""
    try:
        found, _ = answers(datagram)
    except (ValueError, OSError):
        return
    assert len(found) <= len(datagram) // 16
