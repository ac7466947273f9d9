"""A fake API server behind the HTTP client: the real ``Cluster`` runs against it unchanged."""

import asyncio
import copy
import itertools
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from ambimesh.kube.cluster import Cluster
from ambimesh.kube.meta import Resource
from ambimesh.kube.reflector import Pacing

Json = dict[str, Any]

QUICK = Pacing(first_retry_seconds=0.001, last_retry_seconds=0.01, inactivity_seconds=5.0)

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: fake
contexts: [{name: fake, context: {cluster: fake, user: fake}}]
clusters: [{name: fake, cluster: {server: "http://fake"}}]
users: [{name: fake, user: {token: secret}}]
"""


@dataclass
class Watcher:
    """One open watch."""

    path: str
    lines: asyncio.Queue[bytes | None]


@dataclass
class FakeApi(httpx2.AsyncBaseTransport):
    """Objects by path, versions, watches; and the faults a test asks for.

    It knows no schemas: patches merge, an applied configuration merges too.
    """

    streams_lists: bool = True
    absent: set[str] = field(default_factory=set)  # plurals that this server does not have
    objects: dict[str, Json] = field(default_factory=dict)  # by path of the object
    refusals: list[tuple[Callable[[httpx2.Request], bool], int]] = field(default_factory=list)
    requests: list[httpx2.Request] = field(default_factory=list)
    tokens: dict[str, Json] = field(default_factory=dict)  # user info by token
    refusing: int = 0  # the status of every answer, if set

    def __post_init__(self) -> None:
        self._versions = itertools.count(1)
        self._version = 0
        self._expired = False
        self.watchers: list[Watcher] = []
        self.watched = asyncio.Condition()

    # What tests do to it.

    def put(self, item: Resource | Json) -> Json:
        """Create or replace an object, as another client would."""
        body = item.body() if isinstance(item, Resource) else copy.deepcopy(item)
        path = _object_path(body)
        kind = "MODIFIED" if path in self.objects else "ADDED"
        old = self.objects.get(path, {}).get("metadata", {})
        meta = body.setdefault("metadata", {})
        meta.setdefault("uid", old.get("uid", f"uid-{meta['name']}"))
        meta.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        self._store(path, body, kind)
        return body

    def remove(self, item: Resource | Json) -> None:
        """Delete an object."""
        path = _object_path(item.body() if isinstance(item, Resource) else item)
        body = self.objects.pop(path)
        self._version = next(self._versions)
        body["metadata"]["resourceVersion"] = str(self._version)
        self._tell(path, "DELETED", body)

    def stored(self, item: Resource) -> Json | None:
        """Give an object as it is stored now."""
        return self.objects.get(_object_path(item.body()))

    def end_watches(self) -> None:
        """End every open watch, as a server does that restarts."""
        for watcher in self.watchers:
            watcher.lines.put_nowait(None)

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """Change objects inside the block without telling the open watches."""
        watchers, self.watchers = self.watchers, []
        yield
        self.watchers = watchers

    def expire(self) -> None:
        """Forget history: the next watch from a version gets 410."""
        self._expired = True

    def send_line(self, line: bytes) -> None:
        """Send a raw line to every watch."""
        for watcher in self.watchers:
            watcher.lines.put_nowait(line + b"\n")

    def refuse(self, status: int, *, when: Callable[[httpx2.Request], bool]) -> None:
        """Refuse the next request that ``when`` holds for."""
        self.refusals.append((when, status))

    def refuse_all(self, status: int) -> None:
        """Refuse every request from now on."""
        self.refusing = status

    async def wait_watchers(self, count: int) -> None:
        """Wait until so many watches are open."""
        async with self.watched:
            await self.watched.wait_for(lambda: len(self.watchers) >= count)

    async def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until ``condition()`` holds after a change of some object."""
        async with asyncio.timeout(10), self.watched:
            await self.watched.wait_for(condition)

    # The server.

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer one request."""
        self.requests.append(request)
        answer = await self._answer(request)
        async with self.watched:
            self.watched.notify_all()
        return answer

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if self.refusing:
            return _status(self.refusing, "Refused", "a test said so")
        for refusal in self.refusals:
            when, status = refusal
            if when(request):
                self.refusals.remove(refusal)
                return _status(status, "Refused", "a test said so")
        return await self._dispatch(request, request.url.path.strip("/"))

    async def _dispatch(self, request: httpx2.Request, path: str) -> httpx2.Response:  # noqa: PLR0911 # one line for each method
        if path.rsplit("/", maxsplit=1)[-1] in self.absent:
            return _status(404, "NotFound", "the server could not find the requested resource")
        body = json.loads(request.content) if request.content else {}
        match request.method:
            case "GET" if request.url.params.get("watch") == "true":
                return await self._watch(path, request.url.params)
            case "GET" if path in self.objects:
                return _answer(200, self.objects[path])
            case "GET" if not _names_object(path):
                return self._list(path, request.url.params)
            case "POST":
                return self._post(path, body)
            case "PUT" | "PATCH":
                return self._change(path, body, request)
            case "DELETE" if path in self.objects:
                self.remove(self.objects[path])
                return _answer(200, {"kind": "Status", "status": "Success"})
        return _status(404, "NotFound", f"{path} not found")

    def _list(self, path: str, parameters: Mapping[str, str]) -> httpx2.Response:
        found = sorted(self._matching(path).items())
        start = int(parameters.get("continue", "0"))
        limit = int(parameters.get("limit", "0")) or len(found)
        page = found[start : start + limit]
        more = str(start + limit) if start + limit < len(found) else ""
        items = [item for _, item in page] or None  # as Go writes an empty slice
        meta = {"resourceVersion": str(self._version), "continue": more}
        return _answer(200, {"kind": "List", "metadata": meta, "items": items})

    async def _watch(self, path: str, parameters: Mapping[str, str]) -> httpx2.Response:
        streaming = parameters.get("sendInitialEvents") == "true"
        if streaming and not self.streams_lists:
            return _status(422, "Invalid", "sendInitialEvents: Forbidden")
        if self._expired and not streaming:
            self._expired = False
            return _status(410, "Expired", "too old resource version")
        watcher = Watcher(path, asyncio.Queue())
        since = 0 if streaming else int(parameters.get("resourceVersion", "0"))
        for item in self._matching(path).values():
            if int(item["metadata"]["resourceVersion"]) > since:
                watcher.lines.put_nowait(_line("ADDED", item))
        if streaming:
            meta = {
                "resourceVersion": str(self._version),
                "annotations": {"k8s.io/initial-events-end": "true"},
            }
            watcher.lines.put_nowait(_line("BOOKMARK", {"metadata": meta}))
        self.watchers.append(watcher)
        async with self.watched:
            self.watched.notify_all()
        return httpx2.Response(200, stream=_Stream(self, watcher))

    def _post(self, path: str, body: Json) -> httpx2.Response:
        if path.endswith("/tokenreviews"):
            return _answer(201, {"status": self._review(body["spec"])})
        if path.endswith("/token"):
            status = {"token": "made", "expirationTimestamp": "2026-01-01T01:00:00Z"}
            return _answer(201, {"status": status})
        if _object_path(body) in self.objects:
            return _status(409, "AlreadyExists", "already exists")
        return _answer(201, self.put(body))

    def _review(self, spec: Json) -> Json:
        user = self.tokens.get(spec["token"])
        if user is None:
            return {"authenticated": False, "error": "unknown token"}
        return {"authenticated": True, "user": user, "audiences": spec["audiences"]}

    def _change(self, path: str, body: Any, request: httpx2.Request) -> httpx2.Response:
        target = path.removesuffix("/status")
        applying = "apply-patch" in request.headers["content-type"]
        if target not in self.objects:
            if not applying:
                return _status(404, "NotFound", f"{target} not found")
            return _answer(201, self.put(body))
        old = self.objects[target]
        wanted = body.get("metadata", {}).get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            return _status(409, "Conflict", "the object has been modified")
        new = body if request.method == "PUT" else _merge(old, body)
        new["metadata"]["uid"] = old["metadata"]["uid"]
        self._store(target, new, "MODIFIED")
        return _answer(200, new)

    def _store(self, path: str, body: Json, event: str) -> None:
        self._version = next(self._versions)
        body["metadata"]["resourceVersion"] = str(self._version)
        self.objects[path] = body
        self._tell(path, event, body)

    def _tell(self, path: str, event: str, body: Json) -> None:
        for watcher in self.watchers:
            if _belongs(path, watcher.path):
                watcher.lines.put_nowait(_line(event, body))

    def _matching(self, collection: str) -> dict[str, Json]:
        return {p: o for p, o in self.objects.items() if _belongs(p, collection)}


class _Stream(httpx2.AsyncByteStream):
    def __init__(self, api: FakeApi, watcher: Watcher) -> None:
        self._api = api
        self._watcher = watcher

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (line := await self._watcher.lines.get()) is not None:
            yield line

    async def aclose(self) -> None:
        """Forget the watch."""
        if self._watcher in self._api.watchers:
            self._api.watchers.remove(self._watcher)


async def connect(api: FakeApi, folder: Path) -> Cluster:
    """Make a real cluster client whose requests ``api`` answers."""
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG)
    return await Cluster.connect(kubeconfig, transport=api, pacing=QUICK)


_PLURALS = {
    "AuthorizationPolicy": "authorizationpolicies",
    "PeerAuthentication": "peerauthentications",
    "ServiceEntry": "serviceentries",
    "WorkloadEntry": "workloadentries",
}
_CLUSTER_WIDE = {"Namespace", "Node"}


def _object_path(body: Json) -> str:
    kind = body["kind"]
    root = "apis" if "/" in body["apiVersion"] else "api"
    namespace = body["metadata"].get("namespace")
    place = f"/namespaces/{namespace}" if namespace and kind not in _CLUSTER_WIDE else ""
    plural = _PLURALS.get(kind, kind.lower() + "s")
    return f"{root}/{body['apiVersion']}{place}/{plural}/{body['metadata']['name']}"


def _names_object(path: str) -> bool:
    parts = path.split("/")[2 if path.startswith("api/") else 3 :]
    return len(parts) == 4 or (len(parts) == 2 and parts[0] != "namespaces")


def _belongs(path: str, collection: str) -> bool:
    """Tell whether the object at ``path`` is in the collection, across namespaces too."""
    folder, _, _ = path.rpartition("/")
    if folder == collection:
        return True
    before, marker, after = folder.partition("/namespaces/")
    return bool(marker) and f"{before}/{after.partition('/')[2]}" == collection


def _merge(old: Json, patch: Json) -> Json:
    new = copy.deepcopy(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict):
            new[key] = _merge(new.get(key) or {}, value)
        else:
            new[key] = value
    return new


def _line(event: str, item: Json) -> bytes:
    return json.dumps({"type": event, "object": item}).encode() + b"\n"


def _answer(status: int, body: Json) -> httpx2.Response:
    return httpx2.Response(status, json=body)


def _status(code: int, reason: str, message: str) -> httpx2.Response:
    return _answer(code, {"kind": "Status", "code": code, "reason": reason, "message": message})
