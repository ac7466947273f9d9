"""Subresources that are not the object itself: scale, tokens, bindings, logs, streams."""

from collections.abc import Awaitable, Callable

from ambimesh.local.apiserver.access.node_restriction import restrict
from ambimesh.local.apiserver.access.token_request import TokenRequests
from ambimesh.local.apiserver.access.user import User
from ambimesh.local.apiserver.http import negotiate
from ambimesh.local.apiserver.http.message import Answer, Request, Response
from ambimesh.local.apiserver.objects import patching
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.objects.scale import scale_of, scaled
from ambimesh.local.apiserver.status import bad_request, method_not_allowed, not_found
from ambimesh.local.apiserver.store.entry import JsonObject, Key
from ambimesh.local.apiserver.streams.gateway import STREAMED, Streams
from ambimesh.local.apiserver.types.kinds import Kind

TOKENS = "authentication.k8s.io/v1"
_SUCCESS = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}


class Doors:
    """Answers for what is below an object."""

    def __init__(self, registry: Registry, tokens: TokenRequests, streams: Streams) -> None:
        self._registry = registry
        self._tokens = tokens
        self._streams = streams
        self._handlers: dict[tuple[str, str], _Handler] = {
            ("GET", "log"): self._get_log,
            ("GET", "scale"): self._get_scale,
            ("PUT", "scale"): self._put_scale,
            ("PATCH", "scale"): self._patch_scale,
            ("PUT", "finalize"): self._put_finalize,
            ("POST", "token"): self._post_token,
            ("POST", "eviction"): self._post_eviction,
            ("POST", "binding"): self._post_binding,
        }

    async def answer(self, kind: Kind, key: Key, door: str, request: Request, user: User) -> Answer:
        """Answer a request to a door that the kind has.

        Errors: StatusError; StoreUnavailableError.
        """
        if door in STREAMED:
            raise self._streams.refuse_http(kind, key, door, request)
        handler = self._handlers.get((request.method, door))
        if handler is None:
            raise method_not_allowed()
        return await handler(kind, key, request, user)

    async def _get_log(self, kind: Kind, key: Key, request: Request, _user: User) -> Answer:
        return await self._streams.logs(kind, key, request)

    async def _get_scale(self, kind: Kind, key: Key, _request: Request, _user: User) -> Answer:
        entry = self._registry.shelf(kind).committed.get(key)
        if entry is None:
            raise not_found(kind, key.name)
        return Response.of(scale_of(entry.read()))

    async def _put_scale(self, kind: Kind, key: Key, request: Request, _user: User) -> Answer:
        wanted = await negotiate.read_body(request, "autoscaling/v1", "Scale")
        return await self._scale(kind, key, request, lambda old: scaled(old, wanted))

    async def _patch_scale(self, kind: Kind, key: Key, request: Request, _user: User) -> Answer:
        if request.content_type not in (patching.JSON_PATCH, patching.MERGE_PATCH):
            raise bad_request("a scale is changed by JSON patch or merge patch")
        change = patching.read_patch(kind, request.content_type, await request.body())
        return await self._scale(kind, key, request, lambda old: scaled(old, change(scale_of(old))))

    async def _scale(
        self, kind: Kind, key: Key, request: Request, change: Callable[[JsonObject], JsonObject]
    ) -> Response:
        options = negotiate.write_options(request)
        outcome = await self._registry.modify(kind, key, change, options)
        return Response.of(scale_of(negotiate.decode_json(outcome.data)))

    async def _put_finalize(self, kind: Kind, key: Key, request: Request, _user: User) -> Answer:
        wanted = await negotiate.read_asked(request, kind)
        finalizers = (wanted.get("spec") or {}).get("finalizers") or []
        return Response((await self._registry.finalize(kind, key, finalizers)).data)

    async def _post_token(self, kind: Kind, key: Key, request: Request, user: User) -> Answer:
        wanted = await negotiate.read_body(request, TOKENS, "TokenRequest")
        return Response.of(self._tokens.answer(kind, key, wanted, user), 201)

    async def _post_eviction(self, kind: Kind, key: Key, request: Request, user: User) -> Answer:
        self._restrict(kind, key, user)
        wanted = await negotiate.read_body(request, "policy/v1", "Eviction")
        options = negotiate.parse_delete_options(wanted.get("deleteOptions") or {}, request.query)
        await self._registry.delete(kind, key, options)
        return Response.of(_SUCCESS, 201)

    async def _post_binding(self, kind: Kind, key: Key, request: Request, user: User) -> Answer:
        self._restrict(kind, key, user)
        wanted = await negotiate.read_body(request, "v1", "Binding")
        node = (wanted.get("target") or {}).get("name")
        if not isinstance(node, str) or not node:
            raise bad_request("target.name: Required value")
        await self._registry.bind(kind, key, node)
        return Response.of(_SUCCESS, 201)

    def _restrict(self, kind: Kind, key: Key, user: User) -> None:
        obj = self._registry.latest(kind, key)
        if obj is not None:
            restrict(user, kind, obj)


_Handler = Callable[[Kind, Key, Request, User], Awaitable[Answer]]
