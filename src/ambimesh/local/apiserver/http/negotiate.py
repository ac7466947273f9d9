"""What a client sends and wants back: media types, tables, and bodies into objects."""

import json
from typing import Any

import msgspec
import yaml

from ambimesh.local.apiserver.http import protobuf
from ambimesh.local.apiserver.http.message import JSON, Request
from ambimesh.local.apiserver.objects.examine import examine_configuration, require_kind
from ambimesh.local.apiserver.objects.options import (
    DeleteOptions,
    Propagation,
    Validation,
    WriteOptions,
)
from ambimesh.local.apiserver.status import (
    StatusError,
    bad_request,
    unsupported_media_type,
)
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.types.kinds import Kind, by_kind

YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_BODY_TYPES = (JSON, YAML, PROTOBUF)
_MANAGER_LIMIT = 128

decode_json = msgspec.json.Decoder().decode


def wants_table(accept: str) -> bool:
    """Whether the client prefers rows for people."""
    return ";as=Table" in accept.replace(" ", "")


def wants_partial(accept: str) -> bool:
    """Whether the client wants metadata only."""
    return ";as=PartialObjectMetadata" in accept.replace(" ", "")


def require_acceptable(accept: str) -> None:
    """Check that the client takes JSON, in one of its forms.

    Errors: StatusError 406.
    """
    offers = [part.partition(";")[0].strip() for part in accept.split(",")]
    if accept and not {"*/*", "application/*", JSON, YAML} & set(offers):
        raise StatusError(406, f"only the following media types are accepted: {JSON}", details={})


async def read_asked(request: Request, kind: Kind) -> JsonObject:
    """Read a body that is answered and not stored; its types are right afterwards.

    Errors: StatusError 400, 413; 415 for a media type we do not read.
    """
    obj = parse_object(await request.body(), request.content_type, kind.kind)
    require_kind(kind, obj)
    checked, _ = examine_configuration(kind, obj, "Ignore")
    return checked


async def read_body(request: Request, api_version: str, kind: str) -> JsonObject:
    """Read what a subresource takes; see `read_asked`."""
    found = by_kind(api_version, kind)
    assert found is not None
    return await read_asked(request, found)


def parse_object(body: bytes, content_type: str, kind: str) -> JsonObject:
    """Decode one object from JSON, YAML or Kubernetes' protobuf."""
    try:
        match content_type or JSON:
            case "application/json":
                obj = decode_json(body)
            case "application/yaml" | "application/apply-patch+yaml":
                obj = parse_yaml(body)
            case "application/vnd.kubernetes.protobuf":
                obj = protobuf.decode_request(body)
            case _:
                raise unsupported_media_type(_BODY_TYPES)
    except (msgspec.DecodeError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): couldn't get"
            f" version/kind; json parse error: {error}"
        ) from error
    except protobuf.ProtobufError as error:
        raise StatusError(415, f"{error}; use a manifest with -f", details={}) from error
    if not isinstance(obj, dict):
        raise bad_request(
            f"the object provided is unrecognized (must be of type {kind}): not an object"
        )
    return obj


def parse_yaml(body: bytes) -> Any:
    """Decode YAML into what JSON could have said."""
    if body[:1] == b"{":
        return decode_json(body)
    loaded = yaml.load(body, yaml.CSafeLoader)
    # Dates, sets and keys that are not text exist in YAML only: through JSON they become text
    # or are refused.
    try:
        return json.loads(json.dumps(loaded, default=str))
    except (TypeError, ValueError, RecursionError) as error:
        raise yaml.YAMLError(str(error)) from error


def write_options(request: Request) -> WriteOptions:
    """Read how to write from the query.

    Errors: StatusError 400 for values that do not exist.
    """
    query = request.query
    validation: Validation
    match query.get("fieldValidation") or "Warn":
        case "Strict":
            validation = "Strict"
        case "Warn":
            validation = "Warn"
        case "Ignore":
            validation = "Ignore"
        case other:
            raise bad_request(
                f'invalid value "{other}" for fieldValidation: supported are Ignore, Strict, Warn'
            )
    return WriteOptions(
        manager=query.get("fieldManager") or default_manager(request),
        validation=validation,
        dry_run=is_dry_run(query.get("dryRun")),
        force=request.flag("force"),
    )


def default_manager(request: Request) -> str:
    """Name the writer after its user agent, as far as the slash."""
    agent = request.headers.get("user-agent", "").partition("/")[0]
    return agent[:_MANAGER_LIMIT] or "unknown"


def is_dry_run(value: object) -> bool:
    """Read the one value that a dry run has.

    Errors: StatusError 400 for any other.
    """
    if value in (None, "", []):
        return False
    if value in ("All", ["All"]):
        return True
    raise bad_request(f"dryRun: Unsupported value: {value}: supported values: All")


async def delete_options(request: Request) -> DeleteOptions:
    """Read how to delete from the body, or from the query.

    Errors: StatusError 400 for what cannot be read.
    """
    body = await request.body()
    sent = parse_object(body, request.content_type, "DeleteOptions") if body else {}
    return parse_delete_options(sent, request.query)


def parse_delete_options(sent: JsonObject, query: dict[str, str]) -> DeleteOptions:
    """Read how to delete; the query says what the body leaves open.

    Errors: StatusError 400 for what cannot be read.
    """
    try:
        body = msgspec.convert({**_from_query(query), **sent}, _DeleteBody, strict=False)
    except msgspec.ValidationError as error:
        raise bad_request(f"delete options: {error}") from error
    return body.options()


def _from_query(query: dict[str, str]) -> JsonObject:
    names = ("gracePeriodSeconds", "propagationPolicy", "dryRun")
    return {name: query[name] for name in names if query.get(name)}


class _Preconditions(msgspec.Struct, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteBody(msgspec.Struct, rename="camel"):
    grace_period_seconds: int | None = None
    propagation_policy: Propagation | None = None
    orphan_dependents: bool | None = None
    preconditions: _Preconditions | None = None
    dry_run: str | list[str] | None = None

    def options(self) -> DeleteOptions:
        """Give the options in our terms."""
        preconditions = self.preconditions or _Preconditions()
        policy = self.propagation_policy
        if policy is None and self.orphan_dependents:
            policy = "Orphan"
        return DeleteOptions(
            grace_seconds=self.grace_period_seconds,
            propagation=policy,
            uid=preconditions.uid,
            resource_version=preconditions.resource_version,
            dry_run=is_dry_run(self.dry_run),
        )
