"""Check an object against the types of its kind, and answer in Kubernetes' words."""

from collections.abc import Sequence

from ambimesh.local.apiserver.objects.options import Validation
from ambimesh.local.apiserver.status import (
    StatusCause,
    StatusError,
    bad_request,
    details,
    invalid,
)
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.types import validate
from ambimesh.local.apiserver.types.kinds import Kind


def require_kind(kind: Kind, obj: JsonObject) -> None:
    """Fill in kind and apiVersion, or refuse others than those of the path.

    Errors: StatusError 400.
    """
    have = (obj.get("apiVersion") or kind.api_version, obj.get("kind") or kind.kind)
    if have != (kind.api_version, kind.kind):
        raise bad_request(
            f"the API version and kind in the data ({have[0]}, {have[1]}) do not match"
            f" the expected ({kind.api_version}, {kind.kind})"
        )
    obj["apiVersion"], obj["kind"] = have
    metadata = obj.setdefault("metadata", {})
    if metadata is None:
        obj["metadata"] = {}
    elif not isinstance(metadata, dict):
        raise _unusable(kind, "", "metadata: must be of type object")


def examine(
    kind: Kind, obj: JsonObject, mode: Validation, known: frozenset[str] = frozenset()
) -> tuple[JsonObject, tuple[str, ...]]:
    """Check types; gives the object with its unknown fields, and warnings about those.

    ``known`` warnings, about what was stored before, are not repeated and never refused.

    Errors: StatusError 400 for a wrong type, naming the path and the type it should have (kubectl
    adds the file, which it does not for 422), and for unknown fields under Strict.
    """
    checked = validate.check(kind, obj, "Warn")
    name = obj["metadata"].get("name") or obj["metadata"].get("generateName") or ""
    if checked.causes:
        raise _refusal(kind, str(name), checked.causes)
    warnings = tuple(warning for warning in checked.warnings if warning not in known)
    if warnings and mode == "Strict":
        raise strict_refusal(kind, warnings)
    return checked.obj, warnings if mode == "Warn" else ()


def examine_configuration(
    kind: Kind, config: JsonObject, mode: Validation
) -> tuple[JsonObject, tuple[str, ...]]:
    """Check the types of a part of an object, as server-side apply has it.

    What is missing is seen when the whole object is there.

    Errors: StatusError 400, 422.
    """
    checked = validate.check(kind, config, "Warn", is_whole=False)
    if checked.causes:
        raise _refusal(kind, str(config["metadata"].get("name") or ""), checked.causes)
    if checked.warnings and mode == "Strict":
        raise strict_refusal(kind, checked.warnings)
    return checked.obj, checked.warnings if mode == "Warn" else ()


def complaints(kind: Kind, obj: JsonObject) -> frozenset[str]:
    """Give the warnings that a stored object would cause."""
    return frozenset(validate.check(kind, obj, "Warn").warnings)


def strict_refusal(kind: Kind, complaints: tuple[str, ...]) -> StatusError:
    """Refuse unknown or repeated fields, as ``fieldValidation=Strict`` asks."""
    told = ", ".join(complaints)
    return bad_request(
        f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}:'
        f" strict decoding error: {told}"
    )


def _refusal(kind: Kind, name: str, found: tuple[validate.Cause, ...]) -> StatusError:
    causes = [StatusCause(reason=c.reason, field=c.field, message=c.message) for c in found]
    if all(cause.reason != "FieldValueTypeInvalid" for cause in causes):
        return invalid(kind, name, causes)
    told = ", ".join(f"{cause.field}: {cause.message}" for cause in causes)
    return _unusable(kind, name, told, causes)


def _unusable(kind: Kind, name: str, told: str, causes: Sequence[StatusCause] = ()) -> StatusError:
    message = (
        f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}:'
        f' {kind.resource} "{name}": {told}'
    )
    more = {"causes": [cause.body() for cause in causes]} if causes else {}
    return StatusError(400, message, details=details(kind, name, **more))
