"""A WebSocket server and client for pods, over plain sockets with wsproto.

usage: websocket_peer.py serve PORT | websocket_peer.py talk HOST PORT
"""

import hashlib
import json
import socket
import sys
import threading
from collections.abc import Iterator

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    Request,
    TextMessage,
)

MESSAGE_BYTES = 300_000  # several frames and records
DEADLINE_SECONDS = 30.0


class Peer:
    """One end of a connection."""

    def __init__(self, stream: socket.socket, role: ConnectionType) -> None:
        self._stream = stream
        self._protocol = WSConnection(role)

    def send(self, event: Event) -> None:
        """Send an event."""
        self._stream.sendall(self._protocol.send(event))

    def events(self) -> Iterator[Event]:
        """Give what arrives, until the end."""
        while data := self._stream.recv(1 << 16):
            self._protocol.receive_data(data)
            yield from self._protocol.events()


def serve(port: int) -> None:
    """Echo messages on ``port`` until killed."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=echo, args=(stream,), daemon=True).start()


def echo(stream: socket.socket) -> None:
    """Answer each event of one connection by its like."""
    with stream:
        peer = Peer(stream, ConnectionType.SERVER)
        for event in peer.events():
            match event:
                case Request():
                    peer.send(AcceptConnection())
                case Message():
                    peer.send(type(event)(event.data, message_finished=event.message_finished))
                case Ping():
                    peer.send(event.response())
                case CloseConnection():
                    peer.send(event.response())
                    return


def talk(host: str, port: int) -> dict[str, object]:
    """Upgrade, send a text, a long binary message and a ping, and close; give what came back."""
    binary = hashlib.shake_256(b"websocket").digest(MESSAGE_BYTES)
    got: dict[str, object] = {"text": "", "pong": "", "closed": 0}
    received = bytearray()
    with socket.create_connection((host, port), timeout=DEADLINE_SECONDS) as stream:
        peer = Peer(stream, ConnectionType.CLIENT)
        peer.send(Request(host=host, target="/"))
        for event in peer.events():
            match event:
                case AcceptConnection():
                    peer.send(TextMessage("hello"))
                case TextMessage():
                    got["text"] = event.data
                    peer.send(BytesMessage(binary))
                case BytesMessage():
                    received += event.data
                    if event.message_finished:
                        peer.send(Ping(b"there?"))
                case Pong():
                    got["pong"] = bytes(event.payload).decode()
                    peer.send(CloseConnection(1000))
                case CloseConnection():
                    got["closed"] = event.code
    return {**got, "intact": received == binary}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(json.dumps(talk(sys.argv[2], int(sys.argv[3]))))
