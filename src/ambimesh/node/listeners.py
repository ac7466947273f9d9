"""The listening sockets of a captured pod, made by the agent and handed to every proxy generation.

The same descriptors go from generation to generation, so no connection is lost between two of
them, and connections wait in the queue while a killed proxy is replaced. Nobody may ever call
``shutdown()`` on one: that ends listening for all holders.

Source: design D7; node-proxy specification §1, §2.5.
"""

import contextlib
import socket
from enum import IntEnum
from functools import partial

from ambimesh.node.namespace import run_in
from ambimesh.node.ports import (
    INBOUND_HBONE_PORT,
    INBOUND_PLAINTEXT_PORT,
    OUTBOUND_PORT,
    PROXY_MARK,
)

BACKLOG = 4096  # the kernel's net.core.somaxconn default; what waits while nobody accepts
_IP_TRANSPARENT = 19
_IPV6_TRANSPARENT = 75


class ListenerKind(IntEnum):
    """The listeners of a pod, numbered as in ``istio.workload.zds.Listener``."""

    OUTBOUND = 1
    INBOUND_PLAINTEXT = 2
    INBOUND_HBONE = 3


PORTS = {
    ListenerKind.OUTBOUND: OUTBOUND_PORT,
    ListenerKind.INBOUND_PLAINTEXT: INBOUND_PLAINTEXT_PORT,
    ListenerKind.INBOUND_HBONE: INBOUND_HBONE_PORT,
}


def make_listeners(namespace: int) -> dict[ListenerKind, socket.socket]:
    """Bind every listener of a pod in its namespace; all or none.

    Errors: ``OSError`` if a port is taken by a program of the pod, naming the port.
    """
    made: dict[ListenerKind, socket.socket] = {}
    with contextlib.ExitStack() as undo:
        for kind, port in PORTS.items():
            made[kind] = run_in(namespace, partial(_listener, port))
            undo.callback(made[kind].close)
        undo.pop_all()
    return made


def _listener(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Accepted sockets inherit both: the mark keeps replies from being captured, and
        # transparency lets the proxy answer for addresses that are not the pod's.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, PROXY_MARK)
        listener.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
        listener.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
        # So that an agent that has lost its descriptors can bind beside the old ones.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("::", port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"listen on port {port}: {error.strerror}") from error
    return listener
