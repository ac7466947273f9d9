"""The ASGI application: who asks, may they, which handler, and the answer on the wire."""

import asyncio
import sys
import traceback
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from ambimesh.local.apiserver.access.attributes import Attributes
from ambimesh.local.apiserver.access.audit import AuditLog
from ambimesh.local.apiserver.access.authenticator import Authenticator
from ambimesh.local.apiserver.access.authorizer import Authorizer, is_public
from ambimesh.local.apiserver.access.impersonation import impersonate
from ambimesh.local.apiserver.access.reviews import Reviews
from ambimesh.local.apiserver.access.tokens import ISSUER, ServiceAccountTokens, TokenError
from ambimesh.local.apiserver.access.user import User
from ambimesh.local.apiserver.http import negotiate, route
from ambimesh.local.apiserver.http.discovery import Discovery
from ambimesh.local.apiserver.http.message import (
    JSON,
    Answer,
    ClientGoneError,
    Message,
    Receive,
    Request,
    Response,
    Send,
    Streamed,
)
from ambimesh.local.apiserver.http.resources import Resources
from ambimesh.local.apiserver.selectors import parse_fields
from ambimesh.local.apiserver.status import (
    StatusError,
    forbidden,
    method_not_allowed,
    no_such_resource,
)
from ambimesh.local.apiserver.store.entry import Key
from ambimesh.local.apiserver.store.store import StoreUnavailableError
from ambimesh.local.apiserver.streams.gateway import STREAMED, Streams
from ambimesh.local.apiserver.streams.websocket import WebSocket
from ambimesh.local.apiserver.types.kinds import Kind, by_path

_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Handlers:
    """Everything that answers some requests."""

    discovery: Discovery
    resources: Resources
    reviews: Reviews
    tokens: ServiceAccountTokens
    streams: Streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Everything that decides who may ask."""

    authenticator: Authenticator
    authorizer: Authorizer
    audit: AuditLog


class Application:
    """Answers every request with something, and every failure with a Status."""

    def __init__(self, handlers: Handlers, access: Access) -> None:
        self._handlers = handlers
        self._access = access

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request.from_scope(scope, receive)
        if scope["type"] == "websocket":
            await self._websocket(request, WebSocket(receive, send))
            return
        try:
            answer = await self._answer(request)
        except ClientGoneError:
            return
        await _send(answer, receive, send)

    async def _websocket(self, request: Request, client: WebSocket) -> None:
        await request.receive()  # the handshake itself
        try:
            user = self.authenticate(request)
            target = route.parse(request.path)
            kind = by_path(target.group, target.version, target.resource) if target else None
            if target is None or kind is None or target.door not in STREAMED:
                raise no_such_resource()
            if target.door not in kind.subresources or not target.namespace:
                raise no_such_resource()
            # A stream into a pod is a creation for access rules, also when it begins as a GET.
            wanted = replace(attributes(target, request, kind), verb="create")
            self.authorize(user, wanted, kind)
        except StatusError as error:
            await client.refuse(error)
            return
        key = Key(target.namespace, target.name)
        self._record(user, wanted, request, 101)
        await self._handlers.streams.serve(kind, key, target.door, request, client)

    async def _answer(self, request: Request) -> Answer:
        try:
            return await self._checked(request)
        except StatusError as error:
            return refusal(error)
        except StoreUnavailableError as error:
            why = f"the change was not saved and is undone: {error}"
            return refusal(StatusError(507, why))
        except ClientGoneError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of a request: it gets an answer
            traceback.print_exc(file=sys.stderr)
            return refusal(StatusError(500, f"Internal error occurred: {error}"))

    async def _checked(self, request: Request) -> Answer:
        if is_public(request.path) and request.method == "GET":
            return self._public(request)
        user = self.authenticate(request)
        target = route.parse(request.path)
        if target is None:
            self.authorize(user, Attributes(verb=request.method.lower(), path=request.path), None)
            return self._unrelated(request)
        kind = by_path(target.group, target.version, target.resource)
        wanted = attributes(target, request, kind)
        self.authorize(user, wanted, kind)
        if kind is None:
            raise no_such_resource()
        if not kind.is_stored:
            return await self._review(kind, target, request, user)
        _require_verb(kind, target, wanted.verb)
        key = Key(target.namespace if kind.namespaced else "", target.name)
        if not kind.namespaced and target.namespace:
            raise no_such_resource()
        if kind.namespaced and target.name and not target.namespace:
            raise no_such_resource()
        if wanted.verb not in _WRITES:
            return await self._handlers.resources.answer(kind, key, target.door, request, user)
        return await self._audited(kind, key, request, user, wanted)

    def _public(self, request: Request) -> Response:
        if request.path.strip("/") == "version":
            return self._handlers.discovery.answer(request)
        return Response(b"ok", content_type="text/plain; charset=utf-8")

    def _unrelated(self, request: Request) -> Response:
        if request.method != "GET":
            raise method_not_allowed()
        match request.path.rstrip("/"):
            case "/openid/v1/jwks":
                return Response.of(self._handlers.tokens.public_keys())
            case "/.well-known/openid-configuration":
                return Response.of(_openid_configuration())
            case _:
                return self._handlers.discovery.answer(request)

    async def _review(
        self, kind: Kind, target: route.Target, request: Request, user: User
    ) -> Response:
        if request.method != "POST" or target.name:
            raise method_not_allowed()
        body = await negotiate.read_asked(request, kind)
        answer = self._handlers.reviews.answer(kind.plural, target.namespace, body, user)
        return Response.of(answer, 201)

    async def _audited(
        self, kind: Kind, key: Key, request: Request, user: User, wanted: Attributes
    ) -> Answer:
        code = 500
        try:
            answer = await self._handlers.resources.answer(kind, key, wanted.door, request, user)
            code = answer.status if isinstance(answer, Response) else 200
        except StatusError as error:
            code = error.code
            raise
        except StoreUnavailableError:
            code = 507
            raise
        finally:
            self._record(user, wanted, request, code)
        return answer

    def _record(self, user: User, wanted: Attributes, request: Request, code: int) -> None:
        group = f".{wanted.group}" if wanted.group else ""
        door = f"/{wanted.door}" if wanted.door else ""
        self._access.audit.record(
            user=user.name,
            verb=wanted.verb,
            resource=f"{wanted.resource}{group}{door}",
            namespace=wanted.namespace,
            name=wanted.name,
            code=code,
            agent=request.headers.get("user-agent", ""),
            command=request.headers.get("kubectl-command", ""),
            dryRun=request.query.get("dryRun", ""),
            impersonated="impersonate-user" in request.headers or None,
        )

    def authenticate(self, request: Request) -> User:
        """Give the user of a request, or the one that it is to be made as.

        Errors: StatusError 401; 403 for acting as another without the right to.
        """
        try:
            verified = self._access.authenticator.bearer(request.headers.get("authorization", ""))
        except TokenError as error:
            raise StatusError(401, "Unauthorized") from error
        return impersonate(verified.user, request.headers)

    def authorize(self, user: User, wanted: Attributes, kind: Kind | None) -> None:
        """Check that a user may do something.

        Errors: StatusError 403.
        """
        if self._access.authorizer.allows(user, wanted):
            return
        if kind is None:
            message = f"forbidden: {wanted.words(user.name)}"
            raise StatusError(
                403, message, details={"kind": wanted.resource} if wanted.resource else {}
            )
        raise forbidden(kind, wanted.name, wanted.words(user.name))


def attributes(target: route.Target, request: Request, kind: Kind | None) -> Attributes:
    """Give what a request wants; a list of one name counts as about that name."""
    verb = target.verb(request.method, is_watch=request.flag("watch"))
    name = target.name
    if not name and verb in ("list", "watch") and kind is not None:
        fields = parse_fields(request.query.get("fieldSelector", ""), kind.selectable_fields)
        name = fields.required("metadata.name") or ""
    return Attributes(
        verb=verb or request.method.lower(),
        group=target.group,
        resource=target.resource,
        door=target.door,
        namespace=target.namespace,
        name=name,
    )


def _require_verb(kind: Kind, target: route.Target, verb: str) -> None:
    """Check that a kind takes a verb; what a subresource takes, its handler knows."""
    if not target.door and verb not in kind.verbs:
        raise method_not_allowed()


def _openid_configuration() -> dict[str, Any]:
    return {
        "issuer": ISSUER,
        "jwks_uri": f"{ISSUER}/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }


def refusal(error: StatusError) -> Response:
    """Give the answer that a refusal is."""
    retry = (error.details or {}).get("retryAfterSeconds")
    headers = (("retry-after", str(retry)),) if retry else ()
    response = Response.of(error.body(), error.code)
    return Response(response.body, response.status, JSON, headers)


def start_message(status: int, content_type: str, headers: tuple[tuple[str, str], ...]) -> Message:
    """Give the message that begins an answer."""
    pairs = (("content-type", content_type), *headers)
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode("latin1"), value.encode("latin1")) for name, value in pairs],
    }


async def _send(answer: Answer, receive: Receive, send: Send) -> None:
    if isinstance(answer, Streamed):
        await send(start_message(200, answer.content_type, ()))
        await _stream(answer, receive, send)
        return
    length = ("content-length", str(len(answer.body)))
    await send(start_message(answer.status, answer.content_type, (length, *answer.headers)))
    await send({"type": "http.response.body", "body": answer.body})


async def _stream(answer: Streamed, receive: Receive, send: Send) -> None:
    """Send chunks as they come; stops at once when the client is gone, also while none comes."""
    try:
        async with asyncio.TaskGroup() as group:
            hang_up = group.create_task(_raise_when_gone(receive))
            async with aclosing(answer.chunks) as chunks:
                async for chunk in chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
            hang_up.cancel()
            await send({"type": "http.response.body", "body": b""})
    except* ClientGoneError:
        pass


async def _raise_when_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ClientGoneError
