"""Links, addresses, routes and rules of a network namespace, asked of the kernel.

``RouteSocket`` belongs to the namespace of the thread that made it. What it sends and reads is
made and parsed by ``rtnetlink_messages``, which is pure. One send carries a whole pod's set-up.
"""

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from ambimesh.node.rtnetlink_dumps import (
    Address,
    Link,
    Route,
    Rule,
    parse_address,
    parse_link,
    parse_route,
    parse_rule,
)
from ambimesh.node.rtnetlink_messages import (
    Request,
    dump_addresses,
    dump_links,
    dump_routes,
    dump_rules,
    encode,
)
from ambimesh.node.rtnetlink_wire import (
    NLMSG_DONE,
    NLMSG_ERROR,
    Answer,
    read_done,
    read_error,
    split,
)

_RECEIVE_BYTES = 1 << 18
_SOL_NETLINK = 270
_NETLINK_EXT_ACK = 11
_NETLINK_GET_STRICT_CHK = 12
_ANSWER_SECONDS = 10  # the kernel answers within the call; longer means it never will
T = TypeVar("T")


class NetlinkError(OSError):
    """The kernel refused a request; the text names the request and what the kernel said."""


class RouteSocket:
    """A blocking rtnetlink socket in the namespace of the thread that makes it."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._socket.settimeout(_ANSWER_SECONDS)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)
        self._sequence = 0

    def apply(self, *requests: Request) -> None:
        """Send ``requests`` in one go and wait for the answer to each.

        The kernel does them in order and goes on after a failure.
        Errors: ``NetlinkError`` for the first that failed, once all are answered.
        """
        if not requests:
            return
        first = self._sequence + 1
        waiting = {first + place: request for place, request in enumerate(requests)}
        self._sequence += len(requests)
        self._socket.send(b"".join(encode(r, sequence=n) for n, r in waiting.items()))
        failures: list[NetlinkError] = []
        while waiting:
            for answer in self._receive():
                request = waiting.pop(answer.sequence, None)
                if request is not None and (failure := _failure(answer, request)):
                    failures.append(failure)
        if failures:
            raise failures[0]

    def links(self) -> tuple[Link, ...]:
        """List the links, by index."""
        return tuple(self._dump(dump_links(), parse_link))

    def addresses(self) -> tuple[Address, ...]:
        """List the addresses of both families."""
        return tuple(self._dump(dump_addresses(), parse_address))

    def routes(self, family: int) -> tuple[Route, ...]:
        """List the routes of ``family`` (``socket.AF_INET``, ``AF_INET6``), all tables."""
        return tuple(self._dump(dump_routes(family), parse_route))

    def rules(self, family: int) -> tuple[Rule, ...]:
        """List the policy rules of ``family``."""
        return tuple(self._dump(dump_rules(family), parse_rule))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _dump(self, request: Request, parse: Callable[[Answer], T]) -> Iterator[T]:
        self._sequence += 1
        self._socket.send(encode(request, sequence=self._sequence))
        while True:
            for answer in self._receive():
                if answer.sequence != self._sequence:
                    continue
                if failure := _failure(answer, request):
                    raise failure
                if answer.kind in (NLMSG_DONE, NLMSG_ERROR):
                    return
                yield parse(answer)

    def _receive(self) -> Sequence[Answer]:
        return split(self._socket.recv(_RECEIVE_BYTES))


def _failure(answer: Answer, request: Request) -> NetlinkError | None:
    """Give the error in an acknowledgement or at the end of a list, if there is one."""
    if answer.kind == NLMSG_ERROR:
        code, text = read_error(answer)
    elif answer.kind == NLMSG_DONE:
        code, text = read_done(answer), ""
    else:
        return None
    if code == 0:
        return None
    said = f" ({text})" if text else ""
    return NetlinkError(code, f"{request.text}: {os.strerror(code)}{said}")
