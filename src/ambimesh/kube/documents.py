"""Objects of any kind as documents: what the command line reads, writes and prints.

Kinds are found by asking the server (discovery), so every word that ``kubectl`` takes for a kind
works here: plural, singular, short name, ``deployments.apps``, or the ``kind`` of a manifest.
"""

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import UsageError
from ambimesh.kube.connection import Call, Connection
from ambimesh.kube.errors import ObjectNotFoundError
from ambimesh.kube.meta import Kind, describe

Document = dict[str, Any]

MANAGER: Final = "ambi"
_DISCOVERY: Final = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
)
_TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_WATCH_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A kind that the server has, with every word that names it."""

    kind: Kind
    words: frozenset[str]
    categories: frozenset[str] = frozenset()  # words for several kinds: "all"


class Documents:
    """Documents of one API server."""

    def __init__(self, connection: Connection, served: Iterable[Served]) -> None:
        self._connection = connection
        self._served = tuple(served)

    @classmethod
    @asynccontextmanager
    async def open(cls, kubeconfig: Path | None) -> AsyncGenerator["Documents", None]:
        """Connect and ask what kinds there are. Errors: those of ``Connection``."""
        connection = Connection.open(kubeconfig)
        try:
            lists = [await _discover(connection, path) for path in ("api", "apis")]
            yield cls(connection, [served for answer in lists for served in read_discovery(answer)])
        finally:
            await connection.close()

    def kind(self, word: str) -> Kind:
        """Find the kind that ``word`` names. Raises ``UsageError`` AMB0205 when none is."""
        for served in self._served:
            if word.lower() in served.words:
                return served.kind
        known = ", ".join(sorted({s.kind.plural for s in self._served}))
        raise UsageError(catalogue.KIND_UNKNOWN.problem(kind=word, cause=f"there are {known}"))

    def kinds(self, words: str) -> tuple[Kind, ...]:
        """Find the kinds that words with commas between name; a category names several.

        Raises ``UsageError`` AMB0205 for a word that is neither.
        """
        found: list[Kind] = []
        for word in words.lower().split(","):
            several = [served.kind for served in self._served if word in served.categories]
            found += several or [self.kind(word)]
        return tuple(found)

    def kind_of(self, document: Document, *, source: str) -> Kind:
        """Find the kind of a manifest. Raises ``UsageError`` AMB0204 naming where it stands."""
        version, kind = document.get("apiVersion"), document.get("kind")
        for served in self._served:
            if served.kind.kind == kind and served.kind.api_version == version:
                return served.kind
        for served in self._served:  # another served version of the same kind
            if served.kind.kind == kind and str(version).partition("/")[0] == served.kind.group:
                group = served.kind
                return Kind(
                    group.group,
                    str(version).partition("/")[2],
                    group.kind,
                    group.plural,
                    namespaced=group.namespaced,
                )
        known = ", ".join(sorted(s.kind.api_version for s in self._served if s.kind.kind == kind))
        cause = f"the server has {kind} in {known}" if known else f"the server has no {kind}"
        raise UsageError(
            catalogue.MANIFEST_KIND_UNKNOWN.problem(
                cause=cause, source=source, version=version, kind=kind
            )
        )

    async def get(
        self, kind: Kind, namespace: str = "", name: str = "", *, labels: str = ""
    ) -> Document:
        """Read one object, or with no name a list."""
        parameters = {"labelSelector": labels} if labels else {}
        return _document(
            await self._ask(_call("GET", kind, namespace, name, parameters=parameters))
        )

    async def table(
        self, kind: Kind, namespace: str = "", name: str = "", *, labels: str = ""
    ) -> Document:
        """Read what the server prints of one object or a list (meta.k8s.io/v1 Table)."""
        parameters = {"labelSelector": labels} if labels else {}
        call = _call("GET", kind, namespace, name, accept=_TABLE, parameters=parameters)
        return _document(await self._ask(call))

    async def watch(
        self, kind: Kind, namespace: str, name: str, *, version: str, labels: str = ""
    ) -> AsyncGenerator[Document, None]:
        """Follow what the server prints: one event, whose object is a Table, at a time."""
        parameters = {"watch": "true", "resourceVersion": version, "labelSelector": labels}
        if name:
            parameters["fieldSelector"] = f"metadata.name={name}"
        call = _call(
            "GET",
            kind,
            namespace,
            accept=_TABLE,
            parameters={key: value for key, value in parameters.items() if value},
        )
        lines = self._connection.lines(call, inactivity_seconds=_WATCH_SECONDS)
        async with aclosing(lines):
            async for line in lines:
                yield _document(line)

    async def apply(
        self, kind: Kind, document: Document, *, namespace: str
    ) -> tuple[Document, str]:
        """Apply a manifest on the server's side; return the object and what became of it.

        Shape of the word: ``created``, ``configured`` or ``unchanged``, as kubectl says.
        """
        try:
            before = await self.get(kind, namespace, document["metadata"]["name"])
        except ObjectNotFoundError:
            before = {}
        after = _document(await self._ask(_apply_call(kind, document, namespace)))
        return after, _outcome(before, after)

    async def try_apply(self, kind: Kind, document: Document, *, namespace: str) -> None:
        """Have the server check a manifest without storing it. Errors: as those of ``apply``."""
        await self._ask(_apply_call(kind, document, namespace, dryRun="All"))

    async def create(self, kind: Kind, document: Document, *, namespace: str) -> Document:
        """Create an object. Raises ``ObjectExistsError`` when there is one of that name."""
        call = _call(
            "POST",
            kind,
            namespace,
            body=document,
            parameters={"fieldManager": MANAGER, "fieldValidation": "Strict"},
            verb="create",
            subject=describe(kind, document["metadata"].get("name", ""), namespace),
        )
        return _document(await self._ask(call))

    async def merge(self, kind: Kind, namespace: str, name: str, patch: Document) -> Document:
        """Change an object by a merge patch (RFC 7396)."""
        call = _call(
            "PATCH",
            kind,
            namespace,
            name,
            body=patch,
            parameters={"fieldManager": MANAGER},
            content_type="application/merge-patch+json",
        )
        return _document(await self._ask(call))

    async def delete(
        self, kind: Kind, namespace: str, name: str, *, grace_seconds: int | None = None
    ) -> None:
        """Delete an object and, in the background, what belongs to it."""
        options: Document = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._ask(_call("DELETE", kind, namespace, name, body=options))

    async def _ask(self, call: Call) -> bytes:
        return await self._connection.ask(call)


def read_manifests(text: str, *, source: str) -> Iterator[Document]:
    """Split YAML or JSON into documents; lists are taken apart, empty documents left out.

    Raises:
        UsageError: AMB0201, it does not parse; AMB0202, a document is no object with a name.
    """
    try:
        documents = list(yaml.load_all(text, Loader=yaml.CSafeLoader))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise UsageError(
            catalogue.MANIFEST_UNPARSABLE.problem(source=source, cause=_place(error))
        ) from error
    for number, document in enumerate(documents, start=1):
        if document is None:
            continue
        items = document.get("items") if isinstance(document, dict) else None
        for item in items if isinstance(items, list) else [document]:
            yield _checked(item, source=source, number=number)


def read_discovery(answer: Document) -> Iterator[Served]:
    """Read an aggregated discovery document: each kind once, in its preferred version."""
    for group in answer.get("items", ()):
        name = group.get("metadata", {}).get("name", "")
        seen: set[str] = set()
        for version in group.get("versions", ()):
            for resource in version.get("resources", ()):
                if resource["resource"] not in seen:
                    seen.add(resource["resource"])
                    yield _served(name, version["version"], resource)


def _served(group: str, version: str, resource: Document) -> Served:
    plural, kind = resource["resource"], resource["responseKind"]["kind"]
    words = {plural, kind.lower(), resource.get("singularResource") or kind.lower()}
    words |= set(resource.get("shortNames", ()))
    if group:
        words |= {f"{word}.{group}" for word in words}
    place = Kind(group, version, kind, plural, namespaced=resource["scope"] == "Namespaced")
    categories = frozenset(resource.get("categories", ()))
    return Served(kind=place, words=frozenset(words), categories=categories)


def _checked(item: object, *, source: str, number: int) -> Document:
    if not isinstance(item, dict):
        raise UsageError(
            catalogue.MANIFEST_NO_OBJECT.problem(
                source=source, number=number, cause=f"it is {_kind_of_value(item)}"
            )
        )
    missing = [key for key in ("apiVersion", "kind", "metadata") if not item.get(key)]
    metadata = item.get("metadata")
    if not missing and not (isinstance(metadata, dict) and metadata.get("name")):
        missing = ["metadata.name"]
    if missing:
        raise UsageError(
            catalogue.MANIFEST_NO_OBJECT.problem(
                source=source, number=number, cause=f"{' and '.join(missing)} missing"
            )
        )
    return item


def _place(error: Exception) -> str:
    """Say on one line where and why a text does not parse."""
    words = " ".join(str(error).split())
    return words.replace('in "<unicode string>", ', "at ").replace(', in "<unicode string>"', "")


def _kind_of_value(value: object) -> str:
    return {
        type(None): "empty",
        str: "text",
        list: "a list",
        int: "a number",
        bool: "true or false",
    }.get(type(value), type(value).__name__)


def _outcome(before: Document, after: Document) -> str:
    if not before:
        return "created"
    versions = [d.get("metadata", {}).get("resourceVersion") for d in (before, after)]
    return "unchanged" if versions[0] == versions[1] else "configured"


def _call(  # noqa: PLR0913  # one place that knows how a document's request is put together
    method: str,
    kind: Kind,
    namespace: str = "",
    name: str = "",
    *,
    body: Document | None = None,
    parameters: Mapping[str, str] | None = None,
    content_type: str = "application/json",
    accept: str = "application/json",
    verb: str = "",
    subject: str = "",
) -> Call:
    return Call(
        method=method,
        path=kind.path(namespace, name),
        subject=subject or (describe(kind, name, namespace) if name else kind.plural),
        verb=verb or {"GET": "get", "PATCH": "patch"}.get(method, method.lower()),
        parameters=parameters or {},
        body=None if body is None else msgspec.json.encode(body),
        content_type=content_type,
        accept=accept,
    )


def _apply_call(kind: Kind, document: Document, namespace: str, **more: str) -> Call:
    return _call(
        "PATCH",
        kind,
        namespace,
        document["metadata"]["name"],
        parameters={"fieldManager": MANAGER, "force": "true", "fieldValidation": "Strict", **more},
        body=document,
        content_type="application/apply-patch+yaml",
        verb="apply",
    )


async def _discover(connection: Connection, path: str) -> Document:
    call = Call(
        method="GET", path=path, subject="the kinds of the server", verb="list", accept=_DISCOVERY
    )
    return _document(await connection.ask(call))


def _document(body: bytes) -> Document:
    document: Document = msgspec.json.decode(body)
    return document
