"""Probes: verdicts that turn, and questions over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.kube.core import (
    Container,
    ContainerPort,
    ExecAction,
    HttpGetAction,
    HttpHeader,
    Probe,
    TcpSocketAction,
)
from ambimesh.local.pods import probes
from ambimesh.local.pods.probes import ProbeLoop, asker, port_number
from ambimesh.node.namespace import NetworkNamespace

CONTAINER = Container(name="app", ports=(ContainerPort(name="http", container_port=8080),))


@pytest.fixture
def sandbox() -> Iterator[int]:
    """The namespace of this process stands for a pod's."""
    with NetworkNamespace.current() as current:
        yield current.fileno()


async def verdicts(answers: list[bool], *, first: bool, success: int, failure: int) -> list[bool]:
    """Give what a loop reports for these answers in turn."""
    reported: list[bool] = []
    given_answers = iter(answers)
    ended = asyncio.Event()

    async def ask() -> bool:
        try:
            return next(given_answers)
        except StopIteration:
            ended.set()
            await asyncio.Event().wait()
            raise AssertionError from None

    probe = Probe(success_threshold=success, failure_threshold=failure, timeout_seconds=60)
    loop = ProbeLoop(probe, ask, reported.append)
    loop._pause = lambda *, verdict: 0.0  # type: ignore[method-assign] # no waiting in tests
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(loop.run(verdict=first))
        await ended.wait()
        task.cancel()
    return reported


@pytest.mark.parametrize(
    ("answers", "first", "success", "failure", "expected"),
    [
        ("T", False, 1, 3, "T"),
        ("TT", False, 1, 3, "T"),
        ("FT", False, 2, 3, ""),
        ("FTT", False, 2, 3, "T"),
        ("TFT", False, 2, 3, ""),
        ("FF", True, 1, 3, ""),
        ("FFF", True, 1, 3, "F"),
        ("FFTFF", True, 1, 3, ""),
        ("FFFFFF", True, 1, 3, "FF"),
        ("FFFT", True, 1, 3, "FT"),
        ("F", True, 1, 1, "F"),
    ],
)
async def test_verdict_turns_after_so_many_answers_in_a_row(
    answers: str, first: bool, success: int, failure: int, expected: str
) -> None:
    """Only answers in a row count, whichever way."""
    given_answers = [letter == "T" for letter in answers]
    reported = await verdicts(given_answers, first=first, success=success, failure=failure)
    assert "".join("FT"[value] for value in reported) == expected


@pytest.mark.parametrize(
    "error", [OSError("refused"), ValueError("no name"), OverflowError("no port"), TimeoutError()]
)
async def test_question_that_fails_is_a_no(error: Exception) -> None:
    """Whatever goes wrong with asking means unhealthy, and never ends the pod's worker."""

    async def ask() -> bool:
        raise error

    assert await ProbeLoop(Probe(), ask, lambda _ok: None)._answer() is False


async def test_slow_answer_is_a_no() -> None:
    """Who does not answer within the timeout is not healthy."""

    async def ask() -> bool:
        await asyncio.Event().wait()
        return True

    probe = Probe(timeout_seconds=0.01)  # type: ignore[arg-type] # whole seconds are too long here
    loop = ProbeLoop(probe, ask, lambda _ok: None)
    async with asyncio.timeout(5):
        assert await loop._answer() is False


async def never(_command: tuple[str, ...]) -> int:
    """Refuse to run commands."""
    raise AssertionError


@asynccontextmanager
async def served(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Serve one fixed answer on loopback; give port and the heads of requests."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], heads


def http(port: int | str, **more: object) -> Probe:
    """Make a probe over HTTP."""
    return Probe(http_get=HttpGetAction(port=port, **more), timeout_seconds=5)  # type: ignore[arg-type] # fields of the action


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 399 x\r\n\r\n", True),
        (b"HTTP/1.1 400 x\r\n\r\n", False),
        (b"HTTP/1.1 500 x\r\n\r\n", False),
        (b"HTTP/1.1 199 x\r\n\r\n", False),
        (b"", False),
        (b"garbage\r\n", False),
        (b"HTTP/1.1 abc\r\n", False),
        (b"x" * 100_000, False),
    ],
)
async def test_http_probe_reads_the_status(sandbox: int, answer: bytes, healthy: bool) -> None:
    """2xx and 3xx are healthy; everything else, also no HTTP at all, is not."""
    async with served(answer) as (port, _):
        probe = http(port)
        loop = ProbeLoop(probe, asker(probe, CONTAINER, sandbox, never), lambda _ok: None)
        assert await loop._answer() is healthy


async def test_http_probe_sends_path_and_headers(sandbox: int) -> None:
    """The manifest's headers win over ours."""
    async with served(b"HTTP/1.1 200 OK\r\n\r\n") as (port, heads):
        probe = http(port, path="/ok?x=1", http_headers=(HttpHeader(name="Host", value="web"),))
        assert await asker(probe, CONTAINER, sandbox, never)()

    assert heads[0].startswith(b"GET /ok?x=1 HTTP/1.1\r\nHost: web\r\n")


async def test_connection_probe_is_answered_by_an_accept(sandbox: int) -> None:
    """An open port is healthy; a closed one, or one that cannot be, is not."""
    async with served(b"") as (port, _):
        assert await asker(
            Probe(tcp_socket=TcpSocketAction(port=port)), CONTAINER, sandbox, never
        )()
    for bad in (port, 99999, "absent"):
        probe = Probe(tcp_socket=TcpSocketAction(port=bad))
        loop = ProbeLoop(probe, asker(probe, CONTAINER, sandbox, never), lambda _ok: None)
        assert await loop._answer() is False


@pytest.mark.parametrize(("code", "healthy"), [(0, True), (1, False), (127, False)])
async def test_command_probe_is_answered_by_its_exit_code(
    sandbox: int, code: int, healthy: bool
) -> None:
    """Zero is healthy."""
    asked: list[tuple[str, ...]] = []

    async def run(command: tuple[str, ...]) -> int:
        asked.append(command)
        return code

    probe = Probe(exec=ExecAction(command=("check", "-x")))
    ask: Callable[[], Awaitable[bool]] = asker(probe, CONTAINER, sandbox, run)
    assert await ask() is healthy
    assert asked == [("check", "-x")]


def test_ports_have_numbers_or_names() -> None:
    """A name is looked up in the container's ports; digits are a number too."""
    assert port_number(80, CONTAINER) == 80
    assert port_number("http", CONTAINER) == 8080
    assert port_number("81", CONTAINER) == 81
    with pytest.raises(OSError, match="container app has no port named grpc"):
        port_number("grpc", CONTAINER)


@given(st.text(max_size=10), st.text(max_size=10))
def test_request_has_one_head_whatever_the_path(path: str, value: str) -> None:
    """A probe's request is one request line and headers."""
    action = HttpGetAction(path=path, http_headers=(HttpHeader(name="X", value=value),))
    assert probes._request(action, 80).endswith(b"\r\n\r\n")
