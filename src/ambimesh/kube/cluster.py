"""The API server as the mesh's programs use it: typed objects in and out."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import httpx2
import msgspec

from ambimesh.kube.connection import Call, Connection
from ambimesh.kube.core import ServiceAccount
from ambimesh.kube.decoding import PAGE, ObjectDecoder
from ambimesh.kube.errors import ObjectNotFoundError
from ambimesh.kube.meta import Kind, Resource, describe
from ambimesh.kube.reflection import PAGE_OBJECTS
from ambimesh.kube.reflector import Pacing, Reflector
from ambimesh.kube.tokens import (
    IssuedToken,
    TokenIdentity,
    TokenRequest,
    TokenReview,
    token_identity,
)

R = TypeVar("R", bound=Resource)

PatchStyle = Literal["merge", "apply", "json"]

_CONTENT_TYPES: Final[Mapping[PatchStyle, str]] = {
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",  # JSON is YAML
    "json": "application/json-patch+json",
}
_TOKEN_REVIEW: Final = Kind(
    "authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False
)


class Cluster:
    """One API server. One per process; made and used in one event loop.

    Every request has a deadline. Errors: ``ApiUnreachableError``, or the subclass of
    ``ApiRequestError`` that says why the request was refused; both name the object.
    """

    def __init__(self, connection: Connection, *, pacing: Pacing | None = None) -> None:
        self._connection = connection
        self._pacing = pacing

    @classmethod
    async def connect(
        cls,
        kubeconfig: Path | None = None,
        *,
        transport: httpx2.AsyncBaseTransport | None = None,
        pacing: Pacing | None = None,
    ) -> Self:
        """Open the API server of a kubeconfig; nothing is sent yet.

        Args:
            kubeconfig: The file; ``None``: the pod's service account, ``KUBECONFIG``, or the
                default file.
            transport: Takes the place of the network, for tests.
            pacing: How patient reflectors are.

        Errors: ``KubeconfigError``.
        """
        return cls(Connection.open(kubeconfig, transport=transport), pacing=pacing)

    @property
    def server(self) -> str:
        """The address of the API server, as the kubeconfig has it."""
        return self._connection.server

    async def close(self) -> None:
        """Close the connections; reflectors must have been cancelled before."""
        await self._connection.close()

    def reflector(
        self, kind: type[R], *, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> Reflector[R]:
        """Make a live copy of a collection. It does nothing until its ``run`` is awaited."""
        collection = _Collection(
            self._connection, kind.KIND, namespace or "", _selectors(labels, fields)
        )
        return Reflector(kind, collection, pacing=self._pacing)

    async def get(self, kind: type[R], name: str, namespace: str = "") -> R:
        """Read one object. Errors: ``ObjectNotFoundError`` when there is none."""
        answer = await self._connection.ask(
            Call(
                method="GET",
                path=kind.KIND.path(namespace, name),
                subject=describe(kind.KIND, name, namespace),
                verb="get",
            )
        )
        return ObjectDecoder(kind).decode(answer)

    async def find(self, kind: type[R], name: str, namespace: str = "") -> R | None:
        """Read one object, or ``None`` when there is none."""
        try:
            return await self.get(kind, name, namespace)
        except ObjectNotFoundError:
            return None

    async def list(
        self, kind: type[R], *, namespace: str = "", labels: str = "", fields: str = ""
    ) -> tuple[R, ...]:
        """Read a collection once. To follow it, use a reflector."""
        decoder = ObjectDecoder(kind)
        collection = _Collection(self._connection, kind.KIND, namespace, _selectors(labels, fields))
        items: list[R] = []
        more = {"limit": str(PAGE_OBJECTS)}
        while more:
            page = PAGE.decode(await collection.fetch(more))
            items.extend(decoder.decode(raw) for raw in page.items or ())
            continue_ = page.metadata.continue_
            more = {"limit": str(PAGE_OBJECTS), "continue": continue_} if continue_ else {}
        return tuple(items)

    async def create(self, item: R) -> R:
        """Create an object. Errors: ``ObjectExistsError`` when there is one of that name."""
        kind = type(item)
        meta = item.metadata
        answer = await self._connection.ask(
            Call(
                method="POST",
                path=kind.KIND.path(meta.namespace),
                subject=describe(kind.KIND, meta.name or meta.generate_name, meta.namespace),
                verb="create",
                body=msgspec.json.encode(item.body()),
            )
        )
        return ObjectDecoder(kind).decode(answer)

    async def replace(self, item: R) -> R:
        """Write an object whole; fields we do not know are lost, so use it for our own kinds.

        Errors: ``ObjectConflictError`` when its ``resource_version`` is no longer current.
        """
        kind = type(item)
        meta = item.metadata
        answer = await self._connection.ask(
            Call(
                method="PUT",
                path=kind.KIND.path(meta.namespace, meta.name),
                subject=item.label,
                verb="replace",
                body=msgspec.json.encode(item.body()),
            )
        )
        return ObjectDecoder(kind).decode(answer)

    async def delete(
        self,
        kind: type[R],
        name: str,
        namespace: str = "",
        *,
        uid: str | None = None,
        grace_seconds: int | None = None,
    ) -> None:
        """Delete an object; with ``uid``, only if it still is that very one.

        Errors: ``ObjectNotFoundError``; ``ObjectConflictError`` for another uid.
        """
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._connection.ask(
            Call(
                method="DELETE",
                path=kind.KIND.path(namespace, name),
                subject=describe(kind.KIND, name, namespace),
                verb="delete",
                body=msgspec.json.encode(options),
            )
        )

    async def patch(
        self,
        kind: type[R],
        name: str,
        namespace: str,
        body: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        subresource: str = "",
        style: PatchStyle = "merge",
        manager: str = "ambimesh",
        force: bool = True,
    ) -> R:
        """Change an object.

        Args:
            kind: The kind of the object.
            name: Its name.
            namespace: Its namespace; empty for cluster-wide kinds.
            body: The patch; for ``apply``, ``apiVersion``, ``kind`` and the name are filled in.
            subresource: ``status``, or nothing.
            style: Merge patch (RFC 7396), server-side apply, or JSON patch (RFC 6902).
            manager: Who owns the fields written.
            force: For ``apply``: take over fields that others own.

        Errors: ``ObjectConflictError`` for fields of others without ``force``, or a
        ``resourceVersion`` in the body that is not current; ``ObjectNotFoundError``.
        """
        parameters = {"fieldManager": manager}
        if style == "apply":
            parameters["force"] = "true" if force else "false"
            body = _identified(kind.KIND, name, namespace, body)
        answer = await self._connection.ask(
            Call(
                method="PATCH",
                path=kind.KIND.path(namespace, name, subresource),
                subject=describe(kind.KIND, name, namespace),
                verb="patch",
                parameters=parameters,
                body=msgspec.json.encode(body),
                content_type=_CONTENT_TYPES[style],
            )
        )
        return ObjectDecoder(kind).decode(answer)

    async def create_token(
        self,
        namespace: str,
        service_account: str,
        *,
        audiences: Sequence[str],
        seconds: int,
        pod: tuple[str, str] | None = None,
    ) -> IssuedToken:
        """Have a token made, bound to a pod given as ``(name, uid)`` if there is one."""
        spec: dict[str, Any] = {"audiences": list(audiences), "expirationSeconds": seconds}
        if pod is not None:
            name, uid = pod
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        answer = await self._connection.ask(
            Call(
                method="POST",
                path=ServiceAccount.KIND.path(namespace, service_account, "token"),
                subject=describe(ServiceAccount.KIND, service_account, namespace),
                verb="create a token of",
                body=msgspec.json.encode(request),
            )
        )
        status = msgspec.json.decode(answer, type=TokenRequest).status
        return IssuedToken(token=status.token, expires=status.expiration_timestamp)

    async def review_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """Ask whom a token speaks for; ``None`` for one that is not valid for ``audiences``."""
        review = {
            "apiVersion": _TOKEN_REVIEW.api_version,
            "kind": _TOKEN_REVIEW.kind,
            "spec": {"token": token, "audiences": list(audiences)},
        }
        answer = await self._connection.ask(
            Call(
                method="POST",
                path=_TOKEN_REVIEW.path(),
                subject="token review",
                verb="create",
                body=msgspec.json.encode(review),
            )
        )
        return token_identity(msgspec.json.decode(answer, type=TokenReview), tuple(audiences))


class _Collection:
    """One collection with its selectors, as a reflector asks for it."""

    def __init__(
        self, connection: Connection, kind: Kind, namespace: str, selectors: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._path = kind.path(namespace)
        self._selectors = selectors
        self.subject = f"{kind.plural} in {namespace}" if namespace else kind.plural

    async def fetch(self, parameters: Mapping[str, str]) -> bytes:
        """Get one page."""
        return await self._connection.ask(self._call("list", parameters))

    def stream(
        self, parameters: Mapping[str, str], *, inactivity_seconds: float
    ) -> AsyncGenerator[bytes, None]:
        """Get the lines of a watch."""
        call = self._call("watch", parameters)
        return self._connection.lines(call, inactivity_seconds=inactivity_seconds)

    def _call(self, verb: str, parameters: Mapping[str, str]) -> Call:
        return Call(
            method="GET",
            path=self._path,
            subject=self.subject,
            verb=verb,
            parameters={**self._selectors, **parameters},
        )


def _selectors(labels: str, fields: str) -> dict[str, str]:
    wanted = {"labelSelector": labels, "fieldSelector": fields}
    return {name: value for name, value in wanted.items() if value}


def _identified(
    kind: Kind, name: str, namespace: str, body: Mapping[str, Any] | Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Complete an applied configuration with what says whose it is."""
    assert isinstance(body, Mapping), "server-side apply takes an object"
    metadata = {**body.get("metadata", {}), "name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": kind.api_version, "kind": kind.kind, **body, "metadata": metadata}
