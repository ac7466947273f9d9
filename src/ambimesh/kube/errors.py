"""Errors of the API server's answers, each naming the object it is about."""

from dataclasses import dataclass
from typing import Final

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import Diagnostic, MeshError, UnreachableError, UsageError


class ApiUnreachableError(UnreachableError):
    """The API server does not answer, or not in time. Trying again later may work."""


class ApiSilentError(ApiUnreachableError):
    """The API server accepted a watch and then said nothing for too long."""


class KubeconfigError(UsageError):
    """The kubeconfig cannot be used."""


class ApiRequestError(MeshError):
    """The API server refused a request; the subclasses say why."""


class ObjectNotFoundError(ApiRequestError):
    """The object does not exist."""


class ObjectExistsError(ApiRequestError):
    """An object of that name exists already."""


class ObjectConflictError(ApiRequestError):
    """Somebody else changed the object, or owns the field: read it again and decide anew."""


class ForbiddenError(ApiRequestError):
    """The credentials in use do not allow the request."""


class ObjectRejectedError(ApiRequestError):
    """The API server found the request invalid."""


class ExpiredError(ApiRequestError):
    """The API server no longer has the version asked for: list again."""


class ApiServerFaultError(ApiRequestError):
    """The API server failed, or is too busy. Trying again later may work."""


_BY_STATUS: Final[dict[int, tuple[type[ApiRequestError], Diagnostic]]] = {
    401: (ForbiddenError, catalogue.API_FORBIDDEN),
    403: (ForbiddenError, catalogue.API_FORBIDDEN),
    404: (ObjectNotFoundError, catalogue.API_OBJECT_NOT_FOUND),
    409: (ObjectConflictError, catalogue.API_OBJECT_CONFLICT),
    410: (ExpiredError, catalogue.API_VERSION_EXPIRED),
    429: (ApiServerFaultError, catalogue.API_SERVER_FAULT),
}
_EXISTS: Final = (ObjectExistsError, catalogue.API_OBJECT_EXISTS)
_FAULT: Final = (ApiServerFaultError, catalogue.API_SERVER_FAULT)
_REJECTED: Final = (ObjectRejectedError, catalogue.API_REQUEST_REJECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is not a success: the HTTP status and what the Status object says."""

    status: int
    reason: str = ""  # tells the two kinds of 409 apart
    message: str = ""


def refused(refusal: Refusal, *, subject: str, verb: str) -> ApiRequestError:
    """Make the error for a refused request.

    Args:
        refusal: What the API server answered.
        subject: The object, as people read it: ``pod default/web``.
        verb: What was asked for, as a word: get, create, patch.
    """
    kind, diagnostic = _classify(refusal)
    cause = f"{refusal.status} {refusal.reason}: {refusal.message}"
    return kind(diagnostic.problem(cause=cause, subject=subject, verb=verb))


def _classify(refusal: Refusal) -> tuple[type[ApiRequestError], Diagnostic]:
    if refusal.status == 409 and refusal.reason == "AlreadyExists":
        return _EXISTS
    if refusal.status >= 500:
        return _FAULT
    return _BY_STATUS.get(refusal.status, _REJECTED)


def words(error: Exception) -> str:
    """Give the text of an error for one line of a log."""
    if isinstance(error, MeshError):
        problem = error.problem
        return f"{problem.code}: {problem.text} ({problem.cause})"
    return str(error) or type(error).__name__
