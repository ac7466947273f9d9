"""Refusals in Kubernetes' own words: the Status object that every client understands.

Source: research of a real kube-apiserver 1.35; kubectl prints ``message`` and, for 422, ``causes``.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ambimesh.local.apiserver.types.kinds import Kind

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
    507: "InsufficientStorage",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCause:
    """One reason among several, usually about one field."""

    reason: str
    message: str
    field: str = ""

    def body(self) -> dict[str, str]:
        """Give the wire form, without what is empty."""
        return {name: value for name, value in asdict(self).items() if value}


class StatusError(Exception):
    """A request that is refused; carries the Status that answers it."""

    def __init__(
        self, code: int, message: str, *, reason: str = "", details: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason or REASONS[code]
        self.details = details

    def body(self) -> dict[str, Any]:
        """Give the Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details is not None:
            status["details"] = self.details
        return status


def details(kind: Kind, name: str, **more: object) -> dict[str, Any]:
    """Give the ``details`` of a Status about one object."""
    group = {"group": kind.group} if kind.group else {}
    named = {"name": name} if name else {}
    return {**named, **group, "kind": kind.plural, **more}


def success(kind: Kind, name: str, uid: str) -> dict[str, Any]:
    """Give the Status that answers a deletion which took effect at once."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details(kind, name, uid=uid),
    }


def bad_request(message: str) -> StatusError:
    """Refuse what cannot be understood."""
    return StatusError(400, message)


def forbidden(kind: Kind, name: str, why: str, **more: object) -> StatusError:
    """Refuse what is understood and not allowed."""
    named = f' "{name}"' if name else ""
    message = f"{kind.resource}{named} is forbidden: {why}"
    return StatusError(403, message, details=details(kind, name, **more))


def no_such_resource() -> StatusError:
    """Answer for a path or a resource that does not exist."""
    message = "the server could not find the requested resource"
    return StatusError(404, message, details={})


def not_found(kind: Kind, name: str) -> StatusError:
    """Answer for an object that does not exist."""
    message = f'{kind.resource} "{name}" not found'
    return StatusError(404, message, details=details(kind, name))


def method_not_allowed() -> StatusError:
    """Answer for a verb that a path does not have."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, message, details={})


def already_exists(kind: Kind, name: str, *, terminating: bool) -> StatusError:
    """Refuse a creation under a name that is taken."""
    prefix = "object is being deleted: " if terminating else ""
    message = f'{prefix}{kind.resource} "{name}" already exists'
    return StatusError(409, message, reason="AlreadyExists", details=details(kind, name))


def conflict(kind: Kind, name: str, why: str) -> StatusError:
    """Refuse a change that was made on another state than the present one."""
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return StatusError(409, message, details=details(kind, name))


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def apply_conflict(causes: Sequence[StatusCause]) -> StatusError:
    """Refuse a server-side apply that would take fields from other managers."""
    count = f"{len(causes)} conflict{'' if len(causes) == 1 else 's'}"
    told = ", ".join(f"{cause.message}: {cause.field}" for cause in causes)
    body = {"causes": [cause.body() for cause in causes]}
    return StatusError(409, f"Apply failed with {count}: {told}", details=body)


def invalid(kind: Kind, name: str, causes: Sequence[StatusCause]) -> StatusError:
    """Refuse an object whose fields are wrong, naming each of them."""
    told = ", ".join(f"{cause.field}: {cause.message}" for cause in causes)
    if len(causes) > 1:
        told = f"[{told}]"
    whole = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    body = {
        **details(kind, name),
        "kind": kind.kind,  # the one Status in which kubectl wants the kind, not the plural
        "causes": [cause.body() for cause in causes],
    }
    return StatusError(422, f'{whole} "{name}" is invalid: {told}', details=body)


def invalid_field(
    kind: Kind, name: str, field: str, message: str, reason: str = "FieldValueInvalid"
) -> StatusError:
    """Refuse an object for one field."""
    return invalid(kind, name, [StatusCause(reason=reason, field=field, message=message)])


def expired(message: str) -> StatusError:
    """Answer for a version whose history is no longer kept: the client lists again."""
    return StatusError(410, message)


def unsupported_media_type(accepted: Sequence[str]) -> StatusError:
    """Refuse a body in a format that this path does not take."""
    known = ", ".join(accepted)
    message = (
        f"the body of the request was in an unknown format - accepted media types include: {known}"
    )
    return StatusError(415, message)
