"""OpenAPI v3 documents, as far as kubectl reads them: validation by the server, and ``explain``."""

from collections.abc import Iterable
from typing import Any

from ambimesh.local.apiserver.types.formats import FORMATS
from ambimesh.local.apiserver.types.kinds import ASKED, KINDS, Kind
from ambimesh.local.apiserver.types.language import (
    Anything,
    Bounds,
    Field,
    List,
    Map,
    Scalar,
    Struct,
    Type,
)

JsonObject = dict[str, Any]


def document(group: str, version: str) -> JsonObject:
    """Describe all kinds of a group and version; ``/openapi/v3/<path>`` answers with it.

    Deterministic. Has no strategic-merge media type on purpose: kubectl then takes merge keys of
    built-in kinds from its own types, which know more than ours.
    """
    schemas = _Schemas(f"io.ambimesh.{group or 'core'}.{version}.")
    paths: JsonObject = {}
    for kind in (*KINDS, *ASKED):
        if (kind.group, kind.version) == (group, version):
            paths |= _paths(kind, schemas.whole(kind))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Ambimesh", "version": version},
        "paths": paths,
        "components": {"schemas": schemas.made},
    }


def group_versions() -> tuple[tuple[str, str], ...]:
    """Give every group and version that has a document, core first."""
    found = {(kind.group, kind.version) for kind in (*KINDS, *ASKED)}
    return tuple(sorted(found))


def _paths(kind: Kind, reference: JsonObject) -> JsonObject:
    root = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
    where = f"{root}/namespaces/{{namespace}}" if kind.namespaced else root
    collection = f"{where}/{kind.plural}"
    return {
        collection: _operations(kind, reference, {"get": "list", "post": "create"}),
        f"{collection}/{{name}}": _operations(
            kind, reference, {"get": "get", "put": "update", "patch": "patch", "delete": "delete"}
        ),
    }


def _operations(kind: Kind, reference: JsonObject, verbs: dict[str, str]) -> JsonObject:
    return {
        method: _operation(kind, reference, method)
        for method, verb in verbs.items()
        if verb in kind.verbs
    }


def _operation(kind: Kind, reference: JsonObject, method: str) -> JsonObject:
    """Give one operation; kubectl looks for a query parameter ``fieldValidation``."""
    names = ("dryRun", "fieldManager", "fieldValidation") if method != "get" else ()
    return {
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string"}} for name in names
        ],
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": reference}}}
        },
        "x-kubernetes-action": method,
        "x-kubernetes-group-version-kind": _identity(kind),
    }


def _identity(kind: Kind) -> JsonObject:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


class _Schemas:
    """The schemas of one document, made as they are referred to."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.made: JsonObject = {}

    def whole(self, kind: Kind) -> JsonObject:
        """Describe a whole object; gives the reference to it."""
        reference = self._struct(kind.schema)
        described = self.made[f"{self._prefix}{kind.schema.name}"]
        described["x-kubernetes-group-version-kind"] = [_identity(kind)]
        return reference

    def _type(self, type_: Type) -> JsonObject:
        match type_:
            case Anything():
                return {"x-kubernetes-preserve-unknown-fields": True}
            case Scalar():
                return _scalar(type_)
            case List():
                return {"type": "array", "items": self._type(type_.item), **_list_words(type_)}
            case Map():
                return {
                    "type": "object",
                    "additionalProperties": self._type(type_.item),
                    **_bounds(type_.bounds, "minProperties", "maxProperties"),
                    **({"x-kubernetes-map-type": "atomic"} if type_.atomic else {}),
                }
            case Struct():
                return self._struct(type_)

    def _struct(self, type_: Struct) -> JsonObject:
        name = f"{self._prefix}{type_.name}"
        if name not in self.made:
            described: JsonObject = {"type": "object"}
            self.made[name] = described
            if type_.description:
                described["description"] = type_.description
            required = [field.name for field in type_.fields.values() if field.is_required]
            if required:
                described["required"] = required
            described["properties"] = {
                field.name: self._property(field) for field in type_.fields.values()
            }
        return {"$ref": f"#/components/schemas/{name}"}

    def _property(self, field: Field) -> JsonObject:
        described = self._type(field.type)
        if "$ref" in described:  # beside a reference nothing else is read
            described = {"allOf": [described]}
        if isinstance(field.type, Struct) and field.type.atomic:
            described["x-kubernetes-map-type"] = "atomic"
        if isinstance(field.type, List):
            described |= _patch_words(field.type, is_retaining=field.is_retaining)
        elif field.is_retaining:
            described["x-kubernetes-patch-strategy"] = "retainKeys"
        if field.description:
            described["description"] = field.description
        if field.default is not None:
            described["default"] = field.default
        return described


def _scalar(type_: Scalar) -> JsonObject:
    described = dict(FORMATS[type_.word].openapi)
    if type_.choices:
        described["enum"] = list(type_.choices)
    if described.get("type") == "string":
        return described | _bounds(type_.bounds, "minLength", "maxLength")
    return described | _bounds(type_.bounds, "minimum", "maximum")


def _bounds(bounds: Bounds | None, low: str, high: str) -> JsonObject:
    limits = {low: bounds.low, high: bounds.high} if bounds else {}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _list_words(type_: List) -> JsonObject:
    words: JsonObject = {"x-kubernetes-list-type": type_.ownership}
    if type_.keys:
        words["x-kubernetes-list-map-keys"] = list(type_.keys)
    return words | _bounds(type_.bounds, "minItems", "maxItems")


def _patch_words(type_: List, *, is_retaining: bool) -> JsonObject:
    if not type_.is_merged:
        return {}
    strategies: Iterable[str] = ("merge", "retainKeys") if is_retaining else ("merge",)
    words: JsonObject = {"x-kubernetes-patch-strategy": ",".join(strategies)}
    if type_.merge_key:
        words["x-kubernetes-patch-merge-key"] = type_.merge_key
    return words
