"""The grammar of netlink is read whole or refused, whatever the bytes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.node.rtnetlink_dumps import parse_address, parse_link, parse_route, parse_rule
from ambimesh.node.rtnetlink_wire import (
    NLMSG_ERROR,
    Answer,
    MalformedError,
    attribute,
    attributes,
    message,
    nested,
    read_error,
    split,
)

KINDS = st.integers(0, 0x3FFF)
VALUES = st.binary(max_size=60)


@given(st.lists(st.tuples(st.integers(0, 65535), st.integers(0, 65535), VALUES), max_size=6))
def test_messages_written_one_after_the_other_are_read_back(
    messages: list[tuple[int, int, bytes]],
) -> None:
    """Padding never leaks into a body, and no message is lost."""
    data = b"".join(message(k, f, n, body) for n, (k, f, body) in enumerate(messages))

    assert [(a.kind, a.flags, a.body) for a in split(data)] == messages


@given(st.dictionaries(KINDS, VALUES, max_size=8))
def test_attributes_are_read_back(written: dict[int, bytes]) -> None:
    """Each attribute comes back with its own bytes, also when nested."""
    run = [attribute(kind, value) for kind, value in written.items()]

    assert attributes(b"".join(run)) == written
    assert attributes(attributes(nested(7, run))[7]) == written


@given(st.binary(max_size=200))
def test_any_bytes_are_messages_or_malformed(data: bytes) -> None:
    """Nothing but ``MalformedError`` comes out of bytes that are not netlink."""
    try:
        for answer in split(data):
            attributes(answer.body)
            read_error(answer)
    except MalformedError:
        return


@pytest.mark.parametrize("parse", [parse_link, parse_address, parse_route, parse_rule])
@given(body=st.binary(max_size=120))
def test_any_body_is_a_value_or_malformed(parse: object, body: bytes) -> None:
    """A list with nonsense in it is an error with a name, not a crash."""
    assert callable(parse)
    try:
        parse(Answer(0, 0, 0, body))
    except MalformedError:
        return


def test_error_carries_the_kernels_own_words() -> None:
    """The extended acknowledgement is found behind a request that is echoed whole."""
    echoed = message(16, 0, 5, b"abc")
    said = attribute(1, b"Invalid gateway\0")
    body = struct.pack("=i", -22) + echoed + said

    assert read_error(Answer(NLMSG_ERROR, 0x200, 5, body)) == (22, "Invalid gateway")
    assert read_error(Answer(NLMSG_ERROR, 0, 5, body)) == (22, "")
