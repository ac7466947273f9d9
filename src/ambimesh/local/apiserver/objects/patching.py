"""Patches: the four ways to say what should change, as functions from old to new."""

from dataclasses import replace

import msgspec
import yaml

from ambimesh.local.apiserver.apply import ownership
from ambimesh.local.apiserver.objects.examine import examine_configuration, require_kind
from ambimesh.local.apiserver.objects.options import Outcome, WriteOptions, timestamp
from ambimesh.local.apiserver.objects.registry import Change, Registry
from ambimesh.local.apiserver.patch import json_patch, merge_patch, strategic
from ambimesh.local.apiserver.patch.error import PatchError
from ambimesh.local.apiserver.status import (
    StatusCause,
    StatusError,
    apply_conflict,
    bad_request,
    conflict,
    unsupported_media_type,
)
from ambimesh.local.apiserver.store.entry import JsonObject, Key
from ambimesh.local.apiserver.types.kinds import Kind

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_decode = msgspec.json.Decoder().decode


def require_patch_type(kind: Kind, content_type: str) -> None:
    """Check the media type of a patch; custom kinds have no strategic merge.

    Errors: StatusError 415, also for an object that does not exist.
    """
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if not kind.custom:
        accepted.insert(2, STRATEGIC_PATCH)
    if content_type not in accepted:
        raise unsupported_media_type(accepted)


def read_patch(kind: Kind, content_type: str, body: bytes) -> Change:
    """Give the change that a patch (not an apply) makes.

    Errors: StatusError 400 for a body that is not JSON; the change raises 422 where the patch
    does not fit the object.
    """
    try:
        patch = _decode(body)
    except msgspec.DecodeError as error:
        raise bad_request(f"error decoding patch: {error}") from error

    def change(old: JsonObject) -> JsonObject:
        try:
            new = _patched(kind, content_type, old, patch)
        except PatchError as error:
            raise StatusError(422, str(error)) from error
        if not isinstance(new, dict):
            raise StatusError(422, "the patch makes the object something that is not an object")
        return new

    return change


def _patched(kind: Kind, content_type: str, old: JsonObject, patch: object) -> object:
    if content_type == JSON_PATCH:
        return json_patch.apply(old, patch)
    if content_type == MERGE_PATCH:
        return merge_patch.apply(old, patch)
    return strategic.apply(old, patch, kind.schema)


def read_configuration(body: bytes) -> JsonObject:
    """Read the body of a server-side apply.

    Errors: StatusError 400.
    """
    try:
        config = _decode(body) if body[:1] == b"{" else yaml.load(body, yaml.CSafeLoader)
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad_request(f"error decoding YAML: {error}") from error
    if not isinstance(config, dict):
        raise bad_request("error decoding YAML: not an object")
    return config


async def server_side_apply(
    registry: Registry, kind: Kind, key: Key, config: JsonObject, options: WriteOptions, door: str
) -> Outcome:
    """Lay a configuration over an object, or create the object from it.

    Errors: StatusError 400, 403, 404, 409, 422; StoreUnavailableError.
    """
    config, warnings = _read_named(kind, key, config, options)
    now = timestamp(registry.now())

    def lay(old: JsonObject | None) -> JsonObject:
        try:
            result = ownership.server_side_apply(
                old,
                config,
                kind=kind,
                manager=options.manager,
                time=now,
                force=options.force,
                subresource=door,
            )
        except ownership.ApplyError as error:
            raise bad_request(str(error)) from error
        if isinstance(result, ownership.Conflicts):
            raise apply_conflict(
                [
                    StatusCause(reason="FieldManagerConflict", message=c.message, field=c.field)
                    for c in result.conflicts
                ]
            )
        return result.obj

    silent = WriteOptions(
        manager=options.manager, validation="Ignore", dry_run=options.dry_run, force=options.force
    )
    if registry.latest(kind, key) is None and not door:
        for field in ("uid", "resourceVersion"):
            if config["metadata"].get(field):
                raise conflict(kind, key.name, f"{field} mismatch: the object does not exist")
        outcome = await registry.create_applied(kind, key.namespace, lay(None), silent)
    else:
        outcome = await registry.modify(kind, key, lay, silent, door=door, is_owned=True)
    return replace(outcome, warnings=warnings)


def _read_named(
    kind: Kind, key: Key, config: JsonObject, options: WriteOptions
) -> tuple[JsonObject, tuple[str, ...]]:
    if not config.get("apiVersion") or not config.get("kind"):
        raise bad_request("apiVersion and kind are required in a configuration to apply")
    require_kind(kind, config)
    config, warnings = examine_configuration(kind, config, options.validation)
    metadata = config["metadata"]
    if metadata.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    metadata.pop("managedFields", None)
    metadata.pop("creationTimestamp", None)
    if metadata.setdefault("name", key.name) != key.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL"
            f" ({key.name})"
        )
    if key.namespace and metadata.setdefault("namespace", key.namespace) != key.namespace:
        raise bad_request("the namespace of the object does not match the namespace on the URL")
    return config, warnings
