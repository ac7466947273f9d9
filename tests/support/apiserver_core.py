"""The API server inside the test's own event loop: the registry, and HTTP without sockets."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ambimesh.local.apiserver.access import components
from ambimesh.local.apiserver.access.keyring import Keyring, open_keyring
from ambimesh.local.apiserver.server import ApiServer
from ambimesh.local.apiserver.store.store import Store
from ambimesh.local.apiserver.store.versions import resources
from ambimesh.local.home import Home

JsonObject = dict[str, Any]


class Reply:
    """What a request was answered with."""

    def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
        self.status = status
        self.headers = headers
        self.data = data

    @property
    def body(self) -> JsonObject:
        """The answer as an object."""
        decoded: JsonObject = json.loads(self.data)
        return decoded


class Api:
    """Calls the application as uvicorn would."""

    def __init__(self, server: ApiServer, keyring: Keyring) -> None:
        self.server = server
        self.registry = server.registry
        self._keyring = keyring
        self.user = components.ADMIN

    def token(self, user: str = "") -> str:
        """Give the token of a component."""
        return components.token_for(self._keyring.component_key, user or self.user)

    async def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        token: str | None = None,
        **headers: str,
    ) -> Reply:
        """Send a request; header names are written with underscores."""
        messages: list[JsonObject] = []

        async def send(message: JsonObject, /) -> None:
            messages.append(message)

        await self._run(method, path, body, token, headers, send)
        data = b"".join(message.get("body", b"") for message in messages[1:])
        found = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        return Reply(messages[0]["status"], found, data)

    @asynccontextmanager
    async def watch(self, path: str, **headers: str) -> AsyncIterator[AsyncIterator[JsonObject]]:
        """Open a watch; gives its events as they come."""
        lines: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def send(message: JsonObject, /) -> None:
            if message["type"] != "http.response.body":
                return
            for line in message["body"].splitlines():
                lines.put_nowait(line)
            if not message.get("more_body"):
                lines.put_nowait(None)

        async def events() -> AsyncIterator[JsonObject]:
            while (line := await lines.get()) is not None:
                yield json.loads(line)

        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._run("GET", path, None, None, headers, send))
            yield events()
            running.cancel()

    async def _run(
        self,
        method: str,
        path: str,
        body: object,
        token: str | None,
        headers: dict[str, str],
        send: Callable[..., Any],
    ) -> None:
        parts = urlsplit(path)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": f"Bearer {self.token() if token is None else token}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        scope = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }
        requests = [{"type": "http.request", "body": b"" if body is None else data}]

        async def receive() -> JsonObject:
            if requests:
                return requests.pop(0)
            await asyncio.get_running_loop().create_future()
            raise AssertionError

        await self.server.app(scope, receive, send)


@asynccontextmanager
async def running_api(folder: Path) -> AsyncIterator[Api]:
    """Run the server's core, controllers included, in a home of its own."""
    home = Home(folder / "home")
    home.create()
    keyring = open_keyring(home, datetime.now(UTC))
    server = ApiServer(home, keyring)
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Event()
        core = group.create_task(server.run_core(started=ready.set))
        await ready.wait()
        yield Api(server, keyring)
        core.cancel()


@asynccontextmanager
async def running_store(path: Path) -> AsyncIterator[Store]:
    """Run a store with all resources."""
    store = Store(path, resources())
    async with asyncio.TaskGroup() as group:
        ready = asyncio.Event()
        task = group.create_task(store.run(started=ready.set))
        await ready.wait()
        yield store
        task.cancel()
