"""A program for pods: a server that behaves as its client asks, and clients that report as JSON.

usage: traffic_peer.py serve PORT | traffic_peer.py CASE HOST PORT [ARGUMENT]

Each case gives one JSON object: what arrived, or the error. The same case run with and without
a mesh must give the same object.
"""

import hashlib
import json
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHUNK = 1 << 16
BOTH_WAYS_BYTES = 64 << 20
SMALL_WRITES = 2_000
DEADLINE_SECONDS = 90.0
VERDICTS_AT_ONCE = 32
WATCH_SECONDS = 0.02
MARKER = b"a-secret-of-the-traffic-peer"


def reset(connection: socket.socket) -> None:
    """Close so that the peer gets a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_all(connection: socket.socket) -> tuple[int, str]:
    """Read to the end; give how much and its digest."""
    digest, size = hashlib.sha256(), 0
    while data := connection.recv(CHUNK):
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()


def send_random(connection: socket.socket, size: int, seed: int) -> str:
    """Send pseudo-random bytes and then half-close; give their digest."""
    digest = hashlib.sha256()
    block = hashlib.shake_256(str(seed).encode()).digest(CHUNK)
    left = size
    while left:
        part = block[: min(left, CHUNK)]
        connection.sendall(part)
        digest.update(part)
        left -= len(part)
    connection.shutdown(socket.SHUT_WR)
    return digest.hexdigest()


# -- server --------------------------------------------------------------------------------


def serve_echo(connection: socket.socket) -> None:
    """Send back what comes, until the client's end, then end."""
    while data := connection.recv(CHUNK):
        connection.sendall(data)


def serve_half_close(connection: socket.socket) -> None:
    """Read to the client's end, only then answer with the digest."""
    size, digest = read_all(connection)
    connection.sendall(f"{size} {digest}".encode())


def serve_both_ways(connection: socket.socket) -> None:
    """Send and receive at once; then the client compares digests."""
    sent: list[str] = []
    sender = threading.Thread(
        target=lambda: sent.append(send_random(connection, BOTH_WAYS_BYTES, 2))
    )
    sender.start()
    print(json.dumps({"received": read_all(connection)}), flush=True)
    sender.join()


def serve_banner(connection: socket.socket) -> None:
    """Speak first, as SMTP and MariaDB do."""
    connection.sendall(b"220 ready\r\n")
    serve_echo(connection)


def serve_reset(connection: socket.socket) -> None:
    """Answer and reset."""
    connection.sendall(b"partial")
    time.sleep(0.2)  # the answer is to arrive first: a reset may overtake it
    reset(connection)


def serve_report(connection: socket.socket) -> None:
    """Tell the client's address as it is seen here, and wait for its end or reset."""
    connection.sendall(connection.getpeername()[0].removeprefix("::ffff:").encode() + b"\n")
    outcome = "end"
    try:
        while connection.recv(CHUNK):
            pass
    except ConnectionResetError:
        outcome = "reset"
    print(
        json.dumps(
            {"client": connection.getpeername()[0] if outcome == "end" else "", "outcome": outcome}
        ),
        flush=True,
    )


SERVERS: dict[bytes, Callable[[socket.socket], None]] = {
    b"E": serve_echo,
    b"H": serve_half_close,
    b"B": serve_both_ways,
    b"R": serve_reset,
    b"A": serve_report,
}


def serve(port: int) -> None:
    """Serve on ``port``, and with a banner on the next one, until killed."""
    for number, first in ((port, False), (port + 1, True)):
        listener = socket.create_server(
            ("::", number), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
        )
        threading.Thread(target=accept, args=(listener, first), daemon=not first).start()


def accept(listener: socket.socket, banner: bool) -> None:
    """Give every connection a thread."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=handle, args=(connection, banner), daemon=True).start()


def handle(connection: socket.socket, banner: bool) -> None:
    """Do what the first byte asks for."""
    with connection:
        try:
            if banner:
                serve_banner(connection)
            elif kind := connection.recv(1):
                SERVERS[kind](connection)
        except OSError as error:
            print(json.dumps({"server_error": type(error).__name__}), flush=True)


# -- cases ---------------------------------------------------------------------------------


def connect(host: str, port: int) -> socket.socket:
    """Connect with a deadline for everything that follows."""
    connection = socket.create_connection((host, port), timeout=5)
    connection.settimeout(DEADLINE_SECONDS)
    return connection


def case_echo(host: str, port: int) -> dict[str, object]:
    """A line there and back."""
    with connect(host, port) as connection:
        connection.sendall(b"Ehello")
        connection.shutdown(socket.SHUT_WR)
        return {"answer": connection.makefile("rb").read().decode()}


def case_half_close(host: str, port: int) -> dict[str, object]:
    """Our end first, the answer after it."""
    with connect(host, port) as connection:
        connection.sendall(b"H")
        digest = send_random(connection, 1 << 20, 3)
        return {"answer": connection.makefile("rb").read().decode() == f"{1 << 20} {digest}"}


def case_both_ways(host: str, port: int) -> dict[str, object]:
    """Much data in both directions at once."""
    with connect(host, port) as connection:
        connection.sendall(b"B")
        sent: list[str] = []
        sender = threading.Thread(
            target=lambda: sent.append(send_random(connection, BOTH_WAYS_BYTES, 1))
        )
        sender.start()
        size, digest = read_all(connection)
        sender.join()
        return {"size": size, "digest": digest}


def case_small_writes(host: str, port: int) -> dict[str, object]:
    """One byte at a time, each its own segment."""
    with connect(host, port) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(b"E")
        received = bytearray()
        for number in range(SMALL_WRITES):
            connection.sendall(bytes((number & 0xFF,)))
            received += connection.recv(1)
        return {"intact": received == bytes(n & 0xFF for n in range(SMALL_WRITES))}


def case_banner(host: str, port: int) -> dict[str, object]:
    """The server speaks first."""
    with connect(host, port + 1) as connection:
        banner = connection.recv(100)
        connection.sendall(b"HELO\r\n")
        return {"banner": banner.decode(), "answer": connection.recv(100).decode()}


def case_server_reset(host: str, port: int) -> dict[str, object]:
    """The server resets in the middle."""
    with connect(host, port) as connection:
        connection.sendall(b"R")
        got, outcome = b"", "end"
        try:
            while data := connection.recv(CHUNK):
                got += data
        except ConnectionResetError:
            outcome = "reset"
        return {"got": got.decode(), "outcome": outcome}


def case_client_reset(host: str, port: int) -> dict[str, object]:
    """We reset in the middle; the server's log says what it saw."""
    connection = connect(host, port)
    connection.sendall(b"A")
    answer = connection.recv(100).decode().strip()
    reset(connection)
    return {"seen_as": answer}


def case_refused(host: str, port: int) -> dict[str, object]:
    """A port that nobody listens on."""
    try:
        with connect(host, port + 7) as connection:
            return {"outcome": "data" if connection.recv(1) else "end"}
    except OSError as error:
        return {"outcome": type(error).__name__}


def case_verdicts(host: str, port: int, targets: str) -> dict[str, object]:
    """Try each of a JSON list of [name, host, port] at once: allowed means that bytes come back."""
    pairs = [(name, place, number) for name, place, number in json.loads(targets)]
    with ThreadPoolExecutor(VERDICTS_AT_ONCE) as pool:
        found = pool.map(lambda target: is_served(*target[1:]), pairs)
        return dict(zip((name for name, _, _ in pairs), found, strict=True))


def is_served(host: str, port: int) -> bool:
    """Tell whether an echo comes back."""
    try:
        with connect(host, port) as connection:
            connection.sendall(b"Ex")
            return bool(connection.recv(1))
    except OSError:
        return False


def case_watch(host: str, port: int, path: str) -> dict[str, object]:
    """Tell, with the time, each change of a live connection and of new ones, until ``path`` is."""
    live: socket.socket | None = None
    known: dict[str, bool] = {}
    while not Path(path).exists():
        live = live or open_echo(host, port)
        if live is not None and not echoes(live):
            live.close()
            live = None
        now = {"live": live is not None, "new": is_served(host, port)}
        for what, holds in now.items():
            if known.get(what) != holds:
                print(json.dumps({"what": what, "is": holds, "at": time.time()}), flush=True)
        known = now
        time.sleep(WATCH_SECONDS)
    return {"outcome": "end"}


def open_echo(host: str, port: int) -> socket.socket | None:
    """Open a connection that echoes; nothing when it is refused."""
    try:
        connection = connect(host, port)
        connection.sendall(b"E")
    except OSError:
        return None
    if echoes(connection):
        return connection
    connection.close()
    return None


def echoes(connection: socket.socket) -> bool:
    """Tell whether a byte comes back."""
    try:
        connection.sendall(b"x")
        return connection.recv(1) == b"x"
    except OSError:
        return False


def case_requests(host: str, port: int, path: str) -> dict[str, object]:
    """New connections with a marker, one after another, until ``path`` is; count the outcomes."""
    outcomes: Counter[str] = Counter()
    while not Path(path).exists():
        outcomes[request(host, port)] += 1
        print(outcomes.total(), file=sys.stderr, flush=True)
        time.sleep(WATCH_SECONDS)
    return dict(outcomes)


def case_endless_requests(host: str, port: int) -> dict[str, object]:
    """The same until killed, with a line for each outcome: for a pod that nobody enters."""
    while True:
        print(request(host, port), flush=True)
        time.sleep(WATCH_SECONDS)


def request(host: str, port: int) -> str:
    """Make one request; give how it went."""
    try:
        with connect(host, port) as connection:
            connection.sendall(b"E" + MARKER)
            connection.shutdown(socket.SHUT_WR)
            return "answered" if connection.makefile("rb").read() == MARKER else "cut"
    except OSError as error:
        return type(error).__name__


def case_address(host: str, port: int) -> dict[str, object]:
    """Our address, as the server sees it."""
    with connect(host, port) as connection:
        own = connection.getsockname()[0]
        connection.sendall(b"A")
        return {"own": own, "seen_as": connection.recv(100).decode().strip()}


def case_ping(host: str, port: int, path: str) -> dict[str, object]:
    """One connection that asks ten times a second until the file at ``path`` is there."""
    with connect(host, port) as connection:
        connection.settimeout(10)
        connection.sendall(b"E")
        rounds = 0
        while not Path(path).exists():
            connection.sendall(b"x")
            if connection.recv(1) != b"x":
                return {"rounds": rounds, "outcome": "end"}
            rounds += 1
            print(rounds, file=sys.stderr, flush=True)
            time.sleep(0.1)
        return {"rounds": rounds, "outcome": "alive"}


CASES = {
    name.removeprefix("case_"): case for name, case in globals().items() if name.startswith("case_")
}


def main() -> None:
    """Serve, or run one case and print its object."""
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
        return
    try:
        outcome = CASES[sys.argv[1]](sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
    except OSError as error:
        outcome = {"error": type(error).__name__}
    print(json.dumps(outcome))


if __name__ == "__main__":
    main()
