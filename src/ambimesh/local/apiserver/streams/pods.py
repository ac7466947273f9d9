"""From a request about a pod to the door of its node."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ambimesh.local.apiserver.http.message import Request
from ambimesh.local.apiserver.status import (
    StatusCause,
    StatusError,
    bad_request,
)
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.door import (
    DoorConnection,
    DoorError,
    DoorRequest,
    DoorStatus,
    Operation,
    open_door,
)

DoorPath = Callable[[str], Path]
"""Gives the door of a node."""


def read_operation(pod: JsonObject, op: Operation, request: Request) -> DoorRequest:
    """Give the operation that a request to a pod's door asks for.

    Errors: StatusError 400 when it cannot be done, in Kubernetes' words.
    """
    metadata, query = pod["metadata"], request.query
    if not pod["spec"].get("nodeName"):
        raise bad_request(f"pod {metadata['name']} does not have a host assigned")
    container = "" if op == "portforward" else _container(pod, query.get("container", ""))
    if op in ("exec", "attach"):
        _require_running(pod, container)
    command = tuple(value for name, value in request.terms if name == "command")
    if op == "exec" and not command:
        raise bad_request("you must specify at least 1 command for the container")
    is_stream = op in ("exec", "attach")
    return DoorRequest(
        op=op,
        namespace=metadata["namespace"],
        pod=metadata["name"],
        uid=metadata["uid"],
        container=container,
        command=command,
        stdin=is_stream and request.flag("stdin"),
        stdout=not is_stream or request.flag("stdout"),
        stderr=is_stream and request.flag("stderr") and not request.flag("tty"),
        tty=is_stream and request.flag("tty"),
    )


def _container(pod: JsonObject, wanted: str) -> str:
    spec = pod["spec"]
    names = [container["name"] for container in spec.get("containers") or ()]
    others = [container["name"] for container in spec.get("initContainers") or ()]
    if wanted:
        if wanted not in names + others:
            raise bad_request(f"container {wanted} is not valid for pod {pod['metadata']['name']}")
        return wanted
    if len(names) == 1:
        return str(names[0])
    annotations = pod["metadata"].get("annotations") or {}
    default = annotations.get("kubectl.kubernetes.io/default-container", "")
    if default in names:
        return str(default)
    raise bad_request(
        f"a container name must be specified for pod {pod['metadata']['name']}, choose one of:"
        f" [{' '.join(names)}]"
    )


def _require_running(pod: JsonObject, container: str) -> None:
    phase = (pod.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise bad_request(
            f"cannot exec into a container in a completed pod; current phase is {phase}"
        )
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if status["name"] == container and "running" not in (status.get("state") or {}):
            raise bad_request(
                f"container {container} of pod {pod['metadata']['name']} is not running"
            )


async def enter(door: Path, operation: DoorRequest) -> DoorConnection:
    """Begin an operation behind a door.

    Errors: StatusError with what the door said, 503 when nobody is behind it.
    """
    try:
        opened = await open_door(door, operation)
    except DoorError as error:
        raise StatusError(
            503, f"the agent of the node of pod {operation.pod} does not answer: {error}"
        ) from error
    if isinstance(opened, DoorStatus):
        raise StatusError(
            opened.code if opened.code >= 400 else 500, opened.message, reason=_reason(opened.code)
        )
    return opened


def _reason(code: int) -> str:
    return {400: "BadRequest", 404: "NotFound", 409: "Conflict"}.get(code, "InternalError")


def outcome_body(status: DoorStatus) -> dict[str, Any]:
    """Give the Status object that ends an exec or attach."""
    if status.is_success:
        return {"metadata": {}, "status": "Success"}
    if status.exit_code is None:
        return {
            "metadata": {},
            "status": "Failure",
            "reason": "InternalError",
            "message": status.message,
            "code": status.code,
        }
    code = str(status.exit_code)
    cause = StatusCause(reason="ExitCode", message=code)
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": status.message
        or f"command terminated with non-zero exit code: exit status {code}",
        "details": {"causes": [cause.body()]},
    }
