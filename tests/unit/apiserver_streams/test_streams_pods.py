"""From a request about a pod to the operation behind its door."""

from typing import Any

import pytest

from ambimesh.local.apiserver.http.message import Message, Request
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.streams.gateway import choose
from ambimesh.local.apiserver.streams.logs import read_log_operation
from ambimesh.local.apiserver.streams.pods import outcome_body, read_operation
from ambimesh.local.door import DoorStatus


async def _never() -> Message:
    raise AssertionError


def _request(*terms: tuple[str, str]) -> Request:
    return Request("GET", "/", list(terms), {}, _never)


def _pod(*containers: str, node: str = "n1", **more: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u", **more},
        "spec": {"nodeName": node, "containers": [{"name": name} for name in containers]},
        "status": {"phase": "Running"},
    }


def test_exec_takes_command_and_streams_in_order() -> None:
    """A repeated word is a repeated argument."""
    request = _request(
        ("command", "a"), ("command", "a"), ("stdin", "true"), ("stdout", "true"), ("tty", "true"),
        ("stderr", "true"),
    )  # fmt: skip

    operation = read_operation(_pod("c"), "exec", request)

    assert operation.command == ("a", "a")
    assert (operation.container, operation.uid) == ("c", "u")
    assert (operation.stdin, operation.stdout, operation.tty) == (True, True, True)
    assert not operation.stderr  # a terminal has only one output


def test_default_container_is_the_annotated_one() -> None:
    """Among several, kubectl's annotation says which."""
    pod = _pod("a", "b", annotations={"kubectl.kubernetes.io/default-container": "b"})

    assert read_operation(pod, "exec", _request(("command", "x"))).container == "b"


@pytest.mark.parametrize(
    ("pod", "terms", "words"),
    [
        (_pod("c"), [], "at least 1 command"),
        (_pod("c", node=""), [("command", "x")], "does not have a host assigned"),
        (_pod("a", "b"), [("command", "x")], "a container name must be specified"),
        (_pod("a"), [("command", "x"), ("container", "z")], "container z is not valid"),
        ({**_pod("a"), "status": {"phase": "Failed"}}, [("command", "x")], "completed pod"),
        (
            {**_pod("a"), "status": {"containerStatuses": [{"name": "a", "state": {}}]}},
            [("command", "x")],
            "is not running",
        ),
    ],
)
def test_exec_that_cannot_be_is_refused(
    pod: dict[str, Any], terms: list[tuple[str, str]], words: str
) -> None:
    """Each in words that tell what to do."""
    with pytest.raises(StatusError, match=words):
        read_operation(pod, "exec", _request(*terms))


def test_log_options_are_read() -> None:
    """All that kubectl can say about logs."""
    request = _request(
        ("follow", "true"), ("tailLines", "0"), ("sinceSeconds", "5"), ("limitBytes", "9"),
        ("timestamps", "true"), ("previous", "true"),
    )  # fmt: skip

    operation = read_log_operation(_pod("c"), request)

    assert (operation.tail_lines, operation.since_seconds, operation.limit_bytes) == (0, 5, 9)
    assert operation.follow
    assert operation.timestamps
    assert operation.previous


@pytest.mark.parametrize(
    "terms", [[("tailLines", "-1")], [("sinceSeconds", "1"), ("sinceTime", "2026-01-01T00:00:00Z")]]
)
def test_log_options_that_cannot_be_are_refused(terms: list[tuple[str, str]]) -> None:
    """Bad numbers, and two beginnings."""
    with pytest.raises(StatusError):
        read_log_operation(_pod("c"), _request(*terms))


def test_outcomes_are_what_kubectl_reads() -> None:
    """Success, an exit code, and a failure before or beside the command."""
    success = outcome_body(DoorStatus())
    code = outcome_body(DoorStatus(code=500, exit_code=3))
    failure = outcome_body(DoorStatus(code=500, message="gone"))

    assert success == {"metadata": {}, "status": "Success"}
    assert code["reason"] == "NonZeroExitCode"
    assert code["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]
    assert (failure["reason"], failure["message"]) == ("InternalError", "gone")


def test_newest_known_subprotocol_is_chosen() -> None:
    """Version 5 before 4; port-forward has its own; the unknown is nothing."""
    assert choose("exec", ["v4.channel.k8s.io", "v5.channel.k8s.io"]) == "v5.channel.k8s.io"
    assert choose("exec", ["channel.k8s.io"]) == ""
    assert choose("portforward", ["SPDY/3.1+portforward.k8s.io"]) == "SPDY/3.1+portforward.k8s.io"
    assert choose("portforward", ["v5.channel.k8s.io"]) == ""
