"""What the server has: groups, versions, resources; aggregated, and in the old three steps.

Source: apidiscovery.k8s.io/v2 and meta.k8s.io/v1. kubectl takes an aggregated answer for the old
list unless the Content-Type repeats group, version and kind.
"""

import hashlib
import platform
from collections.abc import Iterator
from typing import Any

from ambimesh import __version__
from ambimesh.local.apiserver.http.message import Request, Response
from ambimesh.local.apiserver.status import no_such_resource
from ambimesh.local.apiserver.store.entry import encode
from ambimesh.local.apiserver.types import openapi
from ambimesh.local.apiserver.types.kinds import ASKED, KINDS, SUBRESOURCES, Kind

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_KUBERNETES_VERSION = "1.35.4"  # whose contract we keep; kubectl checks its skew against it
_SERVED = (*KINDS, *ASKED)


class Discovery:
    """Answers about the kinds of this server; they never change while it runs."""

    def __init__(self) -> None:
        documents = {
            _path(group, version): encode(openapi.document(group, version))
            for group, version in openapi.group_versions()
        }
        self._documents = documents
        self._index = encode(
            {
                "paths": {
                    path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={_digest(document)}"}
                    for path, document in documents.items()
                }
            }
        )
        self._etags = {path: f'"{_digest(document)}"' for path, document in documents.items()}

    def answer(self, request: Request) -> Response:
        """Answer a path that is not about objects.

        Errors: StatusError 404.
        """
        match request.path.strip("/").split("/"):
            case ["version"]:
                answer = Response.of(_version())
            case ["api" | "apis" as root]:
                answer = _groups(root, request)
            case ["api", version]:
                answer = _resources("", version)
            case ["apis", group]:
                answer = _group(group)
            case ["apis", group, version]:
                answer = _resources(group, version)
            case ["openapi", "v3"]:
                answer = Response(self._index)
            case ["openapi", "v3", *rest]:
                answer = self._document("/".join(rest), request)
            case _:  # also /openapi/v2, which kubectl asks for in protobuf and can do without
                raise no_such_resource()
        return answer

    def _document(self, path: str, request: Request) -> Response:
        if path not in self._documents:
            raise no_such_resource()
        headers: tuple[tuple[str, str], ...] = (("etag", self._etags[path]),)
        if request.query.get("hash"):
            headers += (("cache-control", "public, immutable"),)
        return Response(self._documents[path], headers=headers)


def _version() -> dict[str, str]:
    major, minor, _ = _KUBERNETES_VERSION.split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": f"v{_KUBERNETES_VERSION}+ambimesh.{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "",
        "goVersion": "",
        "compiler": f"CPython {platform.python_version()}",
        "platform": f"linux/{platform.machine()}",
    }


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


def _digest(document: bytes) -> str:
    return hashlib.sha256(document).hexdigest()[:32].upper()


def _group_versions() -> list[tuple[str, str]]:
    """Give every group and version: groups by name, the preferred version first."""
    found = dict.fromkeys((kind.group, kind.version) for kind in _SERVED)
    return sorted(found, key=lambda group_version: group_version[0])


def _versions(group: str) -> list[str]:
    return [version for name, version in _group_versions() if name == group]


def _kinds(group: str, version: str) -> list[Kind]:
    found = [kind for kind in _SERVED if (kind.group, kind.version) == (group, version)]
    return sorted(found, key=lambda kind: kind.plural)


def _groups(root: str, request: Request) -> Response:
    names = [""] if root == "api" else sorted({g for g, _ in _group_versions() if g})
    if "as=APIGroupDiscoveryList" in request.accept:
        body = encode(
            {
                "kind": "APIGroupDiscoveryList",
                "apiVersion": "apidiscovery.k8s.io/v2",
                "metadata": {},
                "items": [_aggregated_group(name) for name in names],
            }
        )
        etag = f'"{_digest(body)}"'
        if request.headers.get("if-none-match") == etag:
            return Response(b"", 304, _AGGREGATED, (("etag", etag),))
        headers = (("etag", etag), ("vary", "Accept"), ("cache-control", "public"))
        return Response(body, 200, _AGGREGATED, headers)
    if root == "api":
        return Response.of(
            {"kind": "APIVersions", "versions": _versions(""), "serverAddressByClientCIDRs": []}
        )
    groups = [_legacy_group(name) for name in names]
    return Response.of({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})


def _legacy_group(name: str) -> dict[str, Any]:
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in _versions(name)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def _group(name: str) -> Response:
    if not name or not _versions(name):
        raise no_such_resource()
    return Response.of({"kind": "APIGroup", "apiVersion": "v1", **_legacy_group(name)})


def _aggregated_group(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name} if name else {},
        "versions": [
            {
                "version": version,
                "freshness": "Current",
                "resources": [_aggregated(kind) for kind in _kinds(name, version)],
            }
            for version in _versions(name)
        ],
    }


def _response_kind(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}


def _aggregated(kind: Kind) -> dict[str, Any]:
    return {
        "resource": kind.plural,
        "responseKind": _response_kind(kind.group, kind.version, kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
        "subresources": [
            {"subresource": door, "responseKind": _response_kind(*gvk), "verbs": list(verbs)}
            for door, gvk, verbs in _doors(kind)
        ],
    }


def _doors(kind: Kind) -> Iterator[tuple[str, tuple[str, str, str], tuple[str, ...]]]:
    for door in kind.subresources:
        row = SUBRESOURCES[door]
        own = (kind.group, kind.version, kind.kind)
        yield door, (row.group, row.version, row.kind) if row.kind else own, row.verbs


def _resources(group: str, version: str) -> Response:
    kinds = _kinds(group, version)
    if not kinds:
        raise no_such_resource()
    return Response.of(
        {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": kinds[0].api_version,
            "resources": [row for kind in kinds for row in _legacy(kind)],
        }
    )


def _legacy(kind: Kind) -> Iterator[dict[str, Any]]:
    yield {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    for door, (group, version, name), verbs in _doors(kind):
        is_foreign = (group, version) != (kind.group, kind.version)
        yield {
            "name": f"{kind.plural}/{door}",
            "singularName": "",
            "namespaced": kind.namespaced,
            **({"group": group, "version": version} if is_foreign else {}),
            "kind": name,
            "verbs": list(verbs),
        }
