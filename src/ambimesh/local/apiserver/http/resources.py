"""Requests about objects: each method of collections, of objects, and of their status."""

from ambimesh.local.apiserver.access.node_restriction import restrict, restrict_new
from ambimesh.local.apiserver.access.user import User
from ambimesh.local.apiserver.http import negotiate
from ambimesh.local.apiserver.http.doors import Doors
from ambimesh.local.apiserver.http.list import Lister
from ambimesh.local.apiserver.http.message import JSON, Answer, Request, Response, warning_headers
from ambimesh.local.apiserver.http.render import View
from ambimesh.local.apiserver.http.selection import read_selection
from ambimesh.local.apiserver.http.watch import Watcher
from ambimesh.local.apiserver.objects import patching
from ambimesh.local.apiserver.objects.examine import strict_refusal
from ambimesh.local.apiserver.objects.options import Outcome
from ambimesh.local.apiserver.objects.registry import Registry
from ambimesh.local.apiserver.status import (
    StatusError,
    bad_request,
    method_not_allowed,
    no_such_resource,
    not_found,
    success,
)
from ambimesh.local.apiserver.store.entry import JsonObject, Key
from ambimesh.local.apiserver.types import validate
from ambimesh.local.apiserver.types.kinds import Kind

# A PUT of these creates what is not there. Source: AllowCreateOnUpdate in kube-apiserver.
_CREATED_BY_PUT = frozenset(
    {"services", "leases", "events", "roles", "rolebindings", "clusterroles", "clusterrolebindings"}
)
# A DELETE of these answers with the object, also when it is gone at once.
_ANSWERED_WITH_OBJECT = frozenset({"pods", "services", "serviceaccounts", "namespaces"})
_APPLY_NEEDS_MANAGER = (
    "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
)


class Resources:
    """Answers for stored kinds."""

    def __init__(self, registry: Registry, lister: Lister, watcher: Watcher, doors: Doors) -> None:
        self._registry = registry
        self._lister = lister
        self._watcher = watcher
        self._doors = doors

    async def answer(self, kind: Kind, key: Key, door: str, request: Request, user: User) -> Answer:
        """Answer a request about a kind; the user may do it, as far as its path tells.

        Errors: StatusError; StoreUnavailableError.
        """
        if not key.name:
            return await self._collection(kind, key.namespace, request, user)
        if door and door not in kind.subresources:
            raise no_such_resource()
        if request.method not in ("GET", "POST"):
            self._restrict(kind, key, user)
        if door not in ("", "status"):
            return await self._doors.answer(kind, key, door, request, user)
        return await self._object(kind, key, door, request, user)

    async def _object(
        self, kind: Kind, key: Key, door: str, request: Request, user: User
    ) -> Response:
        match request.method:
            case "GET":
                return self._get(kind, key, request)
            case "PUT":
                return await self._put(kind, key, door, request, user)
            case "PATCH":
                return await self._patch(kind, key, door, request, user)
            case "DELETE" if not door:
                return await self._delete(kind, key, request)
            case _:
                raise method_not_allowed()

    def _restrict(self, kind: Kind, key: Key, user: User) -> None:
        obj = self._registry.latest(kind, key)
        if obj is not None:
            restrict(user, kind, obj)

    async def _collection(self, kind: Kind, namespace: str, request: Request, user: User) -> Answer:
        match request.method:
            case "GET" if request.flag("watch"):
                return self._watcher.answer(kind, namespace, request)
            case "GET":
                negotiate.require_acceptable(request.accept)
                return await self._lister.answer(kind, namespace, request)
            case "POST":
                if kind.namespaced and not namespace:
                    raise method_not_allowed()
                obj = await self._read(kind, request)
                return await self._create(kind, namespace, obj, request, user)
            case "DELETE":
                return await self._delete_collection(kind, namespace, request, user)
        raise method_not_allowed()

    async def _read(self, kind: Kind, request: Request) -> JsonObject:
        """Read an object; under Strict, a JSON body may not say a field twice."""
        body = await request.body()
        obj = negotiate.parse_object(body, request.content_type, kind.kind)
        is_strict = request.query.get("fieldValidation") == "Strict"
        if is_strict and request.content_type == JSON:
            repeated = validate.duplicates(body)
            if repeated:
                raise strict_refusal(kind, repeated)
        return obj

    async def _create(
        self, kind: Kind, namespace: str, obj: JsonObject, request: Request, user: User
    ) -> Response:
        restrict_new(user, kind, namespace, obj)
        options = negotiate.write_options(request)
        return self._written(
            kind, request, await self._registry.create(kind, namespace, obj, options)
        )

    def _written(self, kind: Kind, request: Request, outcome: Outcome) -> Response:
        view = View(kind, request)
        data = outcome.data
        if not view.is_plain:
            data = view.one(data, negotiate.decode_json(data), self._registry.now())
        status = 201 if outcome.created else 200
        return Response(data, status, headers=warning_headers(outcome.warnings))

    def _get(self, kind: Kind, key: Key, request: Request) -> Response:
        negotiate.require_acceptable(request.accept)
        entry = self._registry.shelf(kind).committed.get(key)
        if entry is None:
            raise not_found(kind, key.name)
        return Response(View(kind, request).entry(entry, self._registry.now()))

    async def _put(self, kind: Kind, key: Key, door: str, request: Request, user: User) -> Response:
        obj = await self._read(kind, request)
        options = negotiate.write_options(request)
        is_absent = self._registry.latest(kind, key) is None
        if is_absent and not door and kind.plural in _CREATED_BY_PUT:
            obj.setdefault("metadata", {}).setdefault("name", key.name)
            obj["metadata"].pop("resourceVersion", None)
            return await self._create(kind, key.namespace, obj, request, user)
        outcome = await self._registry.modify(
            kind, key, lambda _: obj, options, door=door, is_partial=False
        )
        return self._written(kind, request, outcome)

    async def _patch(
        self, kind: Kind, key: Key, door: str, request: Request, user: User
    ) -> Response:
        patching.require_patch_type(kind, request.content_type)
        body = await request.body()
        options = negotiate.write_options(request)
        if request.content_type != patching.APPLY_PATCH:
            change = patching.read_patch(kind, request.content_type, body)
            outcome = await self._registry.modify(kind, key, change, options, door=door)
            return self._written(kind, request, outcome)
        if "fieldManager" not in request.query:
            raise bad_request(_APPLY_NEEDS_MANAGER)
        config = patching.read_configuration(body)
        if self._registry.latest(kind, key) is None:
            restrict_new(user, kind, key.namespace, config)
        outcome = await patching.server_side_apply(self._registry, kind, key, config, options, door)
        return self._written(kind, request, outcome)

    async def _delete(self, kind: Kind, key: Key, request: Request) -> Response:
        options = await negotiate.delete_options(request)
        deletion = await self._registry.delete(kind, key, options)
        if deletion.gone and kind.plural not in _ANSWERED_WITH_OBJECT:
            return Response.of(success(kind, key.name, deletion.obj["metadata"]["uid"]))
        return Response.of(deletion.obj)

    async def _delete_collection(
        self, kind: Kind, namespace: str, request: Request, user: User
    ) -> Response:
        options = await negotiate.delete_options(request)
        entries = await self._lister.select(kind, read_selection(kind, namespace, request))
        staged = []
        items = []
        for entry in entries:
            restrict(user, kind, entry.read())
            try:
                deletion, pending = self._registry.stage_delete(kind, entry.key, options)
            except StatusError as error:
                if error.code == 404:  # someone else was faster
                    continue
                raise
            items.append(deletion.obj)
            staged.append(pending)
        for pending in staged:
            if pending is not None:
                await pending
        metadata = {"resourceVersion": str(self._registry.store.version)}
        return Response.of(
            {
                "kind": f"{kind.kind}List",
                "apiVersion": kind.api_version,
                "metadata": metadata,
                "items": items,
            }
        )
