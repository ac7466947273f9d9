"""The server: everything wired together, served on several sockets, stopped without a cut."""

import asyncio
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from uvicorn.config import Config

from ambimesh.local.apiserver.access.audit import AuditLog
from ambimesh.local.apiserver.access.authenticator import Authenticator
from ambimesh.local.apiserver.access.authorizer import Authorizer
from ambimesh.local.apiserver.access.keyring import Keyring
from ambimesh.local.apiserver.access.node_restriction import refers
from ambimesh.local.apiserver.access.reviews import Reviews
from ambimesh.local.apiserver.access.token_request import TokenRequests
from ambimesh.local.apiserver.access.tokens import ServiceAccountTokens
from ambimesh.local.apiserver.bootstrap import companions, create_initial_objects
from ambimesh.local.apiserver.controllers.runner import Controllers
from ambimesh.local.apiserver.http.app import Access, Application, Handlers
from ambimesh.local.apiserver.http.discovery import Discovery
from ambimesh.local.apiserver.http.doors import Doors
from ambimesh.local.apiserver.http.list import Lister
from ambimesh.local.apiserver.http.resources import Resources
from ambimesh.local.apiserver.http.watch import Watcher
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.store.entry import JsonObject, Key
from ambimesh.local.apiserver.store.snapshot import Snapshots
from ambimesh.local.apiserver.store.store import Store
from ambimesh.local.apiserver.store.versions import resources
from ambimesh.local.apiserver.streams.gateway import Streams
from ambimesh.local.home import Home

_KEEP_ALIVE_SECONDS = 120
_GRACE_SECONDS = 1  # peers of TLS may never answer a close; what is written is written by then
_BACKLOG = 1024
_LARGEST_MESSAGE_BYTES = 4 << 20  # of a WebSocket; kubectl sends 32 KiB


def utc_now() -> datetime:
    """Give the present moment."""
    return datetime.now(UTC)


class ApiServer:
    """The embedded API of one home directory.

    Constructing it opens the database. Errors: DatabaseError.
    """

    def __init__(self, home: Home, keyring: Keyring) -> None:
        self._keyring = keyring
        self._closing = asyncio.Event()
        self._store = Store(home.api / "state.db", resources())
        self.registry = Registry(self._store, utc_now, companions(keyring.authority))
        self._tokens = ServiceAccountTokens(keyring.token_key, self._find, time.time)
        self.app = self._build(home)

    def _find(self, resource: str, key: Key) -> JsonObject | None:
        entry = self._store.shelves[resource].latest.get(key)
        return entry.read() if entry else None

    def _refers(self, node: str, resource: str, namespace: str, name: str) -> bool:
        pods = self._store.shelves["pods"].snapshot(namespace) if namespace else []
        return refers(pods, node, resource, name)

    def _build(self, home: Home) -> Application:
        authenticator = Authenticator(self._keyring.component_key, self._tokens)
        authorizer = Authorizer(self._refers)
        lister = Lister(self._store, Snapshots(time.monotonic), utc_now)
        watcher = Watcher(self._store, lister, utc_now, self._closing)
        streams = Streams(self.registry, home.door_socket)
        doors = Doors(self.registry, TokenRequests(self._tokens, self._find), streams)
        handlers = Handlers(
            discovery=Discovery(),
            resources=Resources(self.registry, lister, watcher, doors),
            streams=streams,
            reviews=Reviews(authenticator.verify, authorizer),
            tokens=self._tokens,
        )
        audit = AuditLog(home.log / "audit.log", utc_now)
        access = Access(authenticator=authenticator, authorizer=authorizer, audit=audit)
        return Application(handlers, access)

    async def run(self, sockets: Sequence[socket.socket], *, started: Callable[[], None]) -> None:
        """Serve until `stop` is called or the task is cancelled.

        Errors: StoreUnavailableError when the first objects cannot be saved.
        """
        async with asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            core = group.create_task(self.run_core(started=ready.set))
            await ready.wait()
            await self._serve(sockets, started)
            core.cancel()

    async def run_core(self, *, started: Callable[[], None]) -> None:
        """Run everything but the sockets until cancelled: the store and the controllers.

        Errors: StoreUnavailableError when the first objects cannot be saved.
        """
        async with asyncio.TaskGroup() as group:
            ready = asyncio.Event()
            group.create_task(self._store.run(started=ready.set))
            await ready.wait()
            await create_initial_objects(self.registry)
            controllers = Controllers(self.registry, companions(self._keyring.authority))
            group.create_task(controllers.run(started=started))

    async def _serve(self, sockets: Sequence[socket.socket], started: Callable[[], None]) -> None:
        server = _Uvicorn(self._config(), started)
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(self._stop_when_closing(server))
            await server.serve(list(sockets))
            stopping.cancel()

    async def _stop_when_closing(self, server: uvicorn.Server) -> None:
        await self._closing.wait()
        for shelf in self._store.shelves.values():
            shelf.wake()  # watches see that it is time to end
        server.should_exit = True

    def stop(self) -> None:
        """End watches, finish what is being answered, then return from `run`."""
        self._closing.set()

    def _config(self) -> Config:
        # It warns of upgrades that are not WebSockets; ours are answered with words of their own.
        logging.getLogger("uvicorn").setLevel(logging.ERROR)
        config = Config(
            self.app,
            http="httptools",
            ws="wsproto",  # `websockets` refuses kubectl's subprotocol name for its slash
            ws_max_size=_LARGEST_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            backlog=_BACKLOG,
        )
        config.load()
        config.ssl = tls_context(self._keyring.certificate_file, self._keyring.key_file)
        return config


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its signal handlers, telling when it serves."""

    def __init__(self, config: Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started = started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs the process."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._tell_started()


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Give the context we serve with.

    Errors: OSError, ssl.SSLError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


def stop_on_signals(server: ApiServer) -> None:
    """Stop the server on SIGTERM and SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
