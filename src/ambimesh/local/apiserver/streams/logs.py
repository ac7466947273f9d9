"""What a pod's programs have said: text, streamed from the door of its node."""

from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from ambimesh.local.apiserver.http.message import Request, Streamed
from ambimesh.local.apiserver.http.selection import read_number
from ambimesh.local.apiserver.status import bad_request
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.streams.pods import DoorPath, enter, read_operation
from ambimesh.local.door import Channel, DoorConnection, DoorRequest, decode_status

_TEXT = "text/plain"


async def answer(pod: JsonObject, request: Request, door_path: DoorPath) -> Streamed:
    """Begin to give the log of a container.

    Errors: StatusError 400, 503, and what the door says.
    """
    operation = read_log_operation(pod, request)
    door = await enter(door_path(pod["spec"]["nodeName"]), operation)
    return Streamed(_text(door), _TEXT)


def read_log_operation(pod: JsonObject, request: Request) -> DoorRequest:
    """Read which part of which log is wanted.

    Errors: StatusError 400.
    """
    query = request.query
    if query.get("sinceSeconds") and query.get("sinceTime"):
        raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
    asked: dict[str, Any] = {
        "follow": request.flag("follow"),
        "previous": request.flag("previous"),
        "timestamps": request.flag("timestamps"),
        "since_time": query.get("sinceTime", ""),
    }
    for name, field in (
        ("tailLines", "tail_lines"),
        ("sinceSeconds", "since_seconds"),
        ("limitBytes", "limit_bytes"),
    ):
        if query.get(name):
            asked[field] = read_number(request, name)
    return msgspec.structs.replace(read_operation(pod, "logs", request), **asked)


async def _text(door: DoorConnection) -> AsyncGenerator[bytes, None]:
    try:
        yield b""  # the headers go out at once, also while nothing is said
        while (frame := await door.read()) is not None:
            if frame.channel is Channel.STDOUT:
                yield frame.payload
            elif frame.channel is Channel.STATUS:
                status = decode_status(frame.payload)
                if not status.is_success:
                    yield f"{status.message}\n".encode()
                return
    finally:
        door.close()
