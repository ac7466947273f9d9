"""The door protocol: frames, requests, refusals, and what happens when a side goes away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.door import (
    PAYLOAD_LIMIT_BYTES,
    Channel,
    DoorConnection,
    DoorError,
    DoorRequest,
    DoorServer,
    DoorStatus,
    Handler,
    Size,
    decode_header,
    decode_request,
    decode_size,
    decode_status,
    encode_frame,
    open_door,
)

REQUEST = DoorRequest(op="exec", namespace="n", pod="p", uid="u", command=("a", "b"))


@given(st.sampled_from(list(Channel)), st.binary(max_size=100))
def test_frame_is_read_back(channel: Channel, payload: bytes) -> None:
    """Length, channel, payload."""
    frame = encode_frame(channel, payload)

    assert decode_header(frame[:5]) == (len(payload), channel)
    assert frame[5:] == payload


@given(st.binary(min_size=5, max_size=5))
def test_any_header_is_read_or_refused(header: bytes) -> None:
    """A header from anywhere gives a bounded length and a known channel, or the one error."""
    try:
        length, _ = decode_header(header)
    except DoorError:
        return
    assert length <= PAYLOAD_LIMIT_BYTES


@given(st.binary(max_size=100))
def test_any_payload_is_read_or_refused(payload: bytes) -> None:
    """Requests, statuses and sizes from anywhere raise nothing but the one error."""
    for decode in (decode_request, decode_status, decode_size):
        try:
            decode(payload)
        except DoorError:
            continue


def test_payload_beyond_the_limit_is_not_sent() -> None:
    """Neither side makes a frame that the other refuses."""
    with pytest.raises(ValueError, match="the limit is"):
        encode_frame(Channel.STDIN, bytes(PAYLOAD_LIMIT_BYTES + 1))


def test_size_is_kubectls() -> None:
    """A terminal's size goes through as kubectl sends it."""
    assert decode_size(b'{"Width":80,"Height":24}') == Size(width=80, height=24)


@asynccontextmanager
async def _serving(path: Path, handler: Handler) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        started = asyncio.Event()
        task = group.create_task(DoorServer(path, handler).run(started=started.set))
        await started.wait()
        yield
        task.cancel()


async def test_operation_goes_both_ways_and_ends(tmp_path: Path) -> None:
    """A handler gets the request, echoes what comes, and its status is the last frame."""
    seen: list[DoorRequest] = []

    async def echo(request: DoorRequest, connection: DoorConnection) -> DoorStatus:
        seen.append(request)
        await connection.start()
        while (frame := await connection.read()) is not None:
            if frame.channel is Channel.CLOSE:
                break
            await connection.send(Channel.STDOUT, frame.payload)
        return DoorStatus(code=500, exit_code=3)

    data = bytes(range(256)) * 1000
    async with _serving(tmp_path / "d", echo):
        opened = await open_door(tmp_path / "d", REQUEST)
        assert isinstance(opened, DoorConnection)
        await opened.send(Channel.STDIN, data)
        await opened.finish(Channel.STDIN)
        heard, last = b"", DoorStatus()
        while (frame := await opened.read()) is not None:
            if frame.channel is Channel.STDOUT:
                heard += frame.payload
            else:
                last = decode_status(frame.payload)
        opened.close()
        await opened.wait_closed()

    assert seen == [REQUEST]
    assert heard == data
    assert (last.exit_code, last.is_success) == (3, False)
    assert not (tmp_path / "d").exists()


async def test_refusal_comes_instead_of_a_connection(tmp_path: Path) -> None:
    """A handler that does not start says why; one that fails is a 500."""

    async def refuse(request: DoorRequest, _connection: DoorConnection) -> DoorStatus:
        if request.pod == "broken":
            raise KeyError(request.pod)
        return DoorStatus(code=404, message="no such container")

    broken = DoorRequest(op="exec", namespace="n", pod="broken", uid="u")
    async with _serving(tmp_path / "d", refuse):
        refused = await open_door(tmp_path / "d", REQUEST)
        failed = await open_door(tmp_path / "d", broken)

    assert refused == DoorStatus(code=404, message="no such container")
    assert failed == DoorStatus(code=500, message="KeyError: 'broken'")


async def test_first_frame_must_be_a_request(tmp_path: Path) -> None:
    """Whoever says something else is told so."""

    async def never(_request: DoorRequest, _connection: DoorConnection) -> DoorStatus:
        raise AssertionError

    async with _serving(tmp_path / "d", never):
        reader, writer = await asyncio.open_unix_connection(tmp_path / "d")
        writer.write(encode_frame(Channel.STDIN, b"x"))
        frame = await DoorConnection(reader, writer).read()
        writer.close()

    assert frame
    assert decode_status(frame.payload).code == 400


async def test_nobody_behind_the_door_is_an_error(tmp_path: Path) -> None:
    """No socket, and a socket whose owner says nothing."""
    with pytest.raises(DoorError, match="cannot connect"):
        await open_door(tmp_path / "d", REQUEST)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_unix_server(hang_up, tmp_path / "d")
    async with server:
        with pytest.raises(DoorError):
            await open_door(tmp_path / "d", REQUEST)


async def test_handler_hears_that_its_client_has_gone(tmp_path: Path) -> None:
    """Reading gives None: the operation can end."""
    ended = asyncio.Event()

    async def wait(_request: DoorRequest, connection: DoorConnection) -> DoorStatus:
        await connection.start()
        assert await connection.read() is None
        ended.set()
        return DoorStatus()

    async with _serving(tmp_path / "d", wait):
        opened = await open_door(tmp_path / "d", REQUEST)
        assert isinstance(opened, DoorConnection)
        opened.close()
        async with asyncio.timeout(10):
            await ended.wait()
