"""Messages of an init survive the wire, and nothing else passes for one."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.init import protocol as p
from ambimesh.local.init.wire import ProtocolError, decode, encode

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=20)
NUMBERS = st.integers(0, 2**31)
BINDS = st.builds(p.Bind, source=TEXT, target=TEXT, read_only=st.booleans())
CREDENTIALS = st.builds(
    p.Credentials,
    uid=NUMBERS,
    gid=NUMBERS,
    groups=st.lists(NUMBERS, max_size=3).map(tuple),
    nested=st.booleans(),
)
SPAWNS = st.builds(
    p.Spawn,
    key=TEXT,
    owner=TEXT,
    argv=st.lists(TEXT, max_size=4).map(tuple),
    env=st.dictionaries(TEXT, TEXT, max_size=4),
    cwd=TEXT,
    log=st.none() | TEXT,
    descriptors=st.lists(NUMBERS, max_size=4).map(tuple),
    terminal=st.booleans(),
    sandbox=st.none() | TEXT,
    hostname=st.none() | TEXT,
    binds=st.lists(BINDS, max_size=3).map(tuple),
    credentials=st.none() | CREDENTIALS,
)
OPERATIONS = st.one_of(
    SPAWNS,
    st.builds(p.Signal, key=TEXT, number=NUMBERS, leader_only=st.booleans()),
    st.builds(p.Follow, owner=TEXT),
    st.builds(p.Acknowledge, key=TEXT),
    st.builds(p.ListProcesses, owner=st.none() | TEXT, after=TEXT),
    st.builds(p.CreateSandbox, key=TEXT, sysctls=st.dictionaries(TEXT, TEXT, max_size=3)),
    st.builds(p.OpenSandbox, key=TEXT),
    st.builds(p.DeleteSandbox, key=TEXT),
    st.builds(p.ListSandboxes),
    st.builds(p.Keep, key=TEXT, names=st.lists(TEXT, max_size=3).map(tuple)),
    st.builds(p.Fetch, key=TEXT),
    st.builds(p.Drop, key=TEXT),
    st.builds(p.OpenNetwork),
    st.builds(p.Shutdown),
)
EXITS = st.builds(
    p.Exit,
    key=TEXT,
    owner=TEXT,
    pid=NUMBERS,
    code=st.integers(0, 255),
    signal=st.none() | st.integers(1, 64),
    started_at=st.floats(0, 1e10),
    finished_at=st.floats(0, 1e10),
)
MESSAGES = st.one_of(
    st.builds(p.Request, id=NUMBERS, operation=OPERATIONS),
    st.builds(p.Done, id=NUMBERS, facts=st.dictionaries(TEXT, TEXT | NUMBERS, max_size=3)),
    st.builds(
        p.Refused,
        id=NUMBERS,
        failure=st.sampled_from(p.Failure),
        text=TEXT,
        stage=TEXT,
        errno=NUMBERS,
    ),
    EXITS,
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


@given(MESSAGES)
def test_message_survives_the_wire(message: p.Message) -> None:
    """What is sent is what arrives, for every message; undecodable bytes of arguments too."""
    assert decode(encode(message)) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_named_error(data: bytes) -> None:
    """Nothing that a client can send raises anything else."""
    try:
        decode(data)
    except ProtocolError:
        return


@given(st.sampled_from(sorted(p.OPERATIONS)), JSON)
def test_any_arguments_are_an_operation_or_a_named_error(name: str, arguments: object) -> None:
    """Wrong arguments are refused under the number of their request."""
    data = json.dumps({"id": 3, "do": name, "with": arguments}).encode()
    try:
        decode(data)
    except ProtocolError as error:
        assert error.request == 3  # noqa: PT017  # there may be none


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda spawn: spawn.pop("key"), "no field 'key'"),
        (lambda spawn: spawn.update(colour="red"), "unknown field 'colour'"),
        (lambda spawn: spawn.update(argv="ls"), r"spawn\.argv: not a list"),
        (lambda spawn: spawn.update(argv=["a\0b"]), r"argv\[0\]: has a NUL"),
        (lambda spawn: spawn.update(env={"A": 1}), r"env\.A: not text"),
        (lambda spawn: spawn.update(terminal=1), "terminal: not bool"),
        (lambda spawn: spawn.update(descriptors=[True]), r"descriptors\[0\]: not int"),
        (lambda spawn: spawn.update(binds=[{"source": "/a"}]), r"binds\[0\]: no field 'target'"),
    ],
)
def test_error_names_the_field(change: Callable[[dict[str, Any]], object], text: str) -> None:
    """Each refusal says where in the request the fault is."""
    shape = json.loads(encode(p.Request(id=9, operation=p.Spawn(key="k", owner="o", argv=()))))
    change(shape["with"])

    with pytest.raises(ProtocolError, match=text) as refused:
        decode(json.dumps(shape).encode())

    assert refused.value.request == 9


def test_deep_nesting_is_refused_and_does_not_end_the_program() -> None:
    """A datagram of brackets is not JSON for us, however deep."""
    with pytest.raises(ProtocolError):
        decode(b'{"id":' + b"[" * 100_000)


def test_message_that_does_not_fit_is_refused_with_its_size() -> None:
    """What would be cut by the socket is never sent."""
    spawn = p.Spawn(key="k", owner="o", argv=("x" * p.MAX_DATAGRAM_BYTES,))

    with pytest.raises(ProtocolError, match="do not fit"):
        encode(p.Request(id=1, operation=spawn))
