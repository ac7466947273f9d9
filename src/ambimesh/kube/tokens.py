"""Service account tokens: who a token speaks for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import msgspec

from ambimesh.kube.meta import Part

_USER_PREFIX: Final = "system:serviceaccount:"
_GROUP: Final = "system:serviceaccounts"
_EXTRA: Final = "authentication.kubernetes.io/"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenIdentity:
    """The service account that a valid token speaks for, and the pod it is bound to."""

    namespace: str
    service_account: str
    pod_name: str | None = None
    pod_uid: str | None = None
    node_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """A token of a service account. It is a secret: never log it."""

    token: str = field(repr=False)
    expires: str  # RFC 3339


class ReviewedUser(Part, frozen=True):
    """Whom the API server takes the bearer for."""

    username: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class ReviewStatus(Part, frozen=True):
    """The verdict on a token."""

    authenticated: bool = False
    user: ReviewedUser = ReviewedUser()
    audiences: tuple[str, ...] = ()
    error: str = ""


class TokenReview(Part, frozen=True):
    """The API server's answer to the question whom a token speaks for."""

    status: ReviewStatus = ReviewStatus()


class TokenRequestStatus(Part, frozen=True):
    """A token that was made."""

    token: str = ""
    expiration_timestamp: str = ""


class TokenRequest(Part, frozen=True):
    """The API server's answer to the wish for a token."""

    status: TokenRequestStatus = TokenRequestStatus()


def token_identity(review: TokenReview, audiences: tuple[str, ...]) -> TokenIdentity | None:
    """Read a review; ``None`` unless it names a service account and one of ``audiences``.

    Source: Kubernetes TokenReview: an audience-aware server fills ``status.audiences``; one
    that is not leaves it empty and has checked nothing, so the token is refused.
    """
    status = review.status
    if not status.authenticated or _GROUP not in status.user.groups:
        return None
    if audiences and not set(audiences) & set(status.audiences):
        return None
    if not status.user.username.startswith(_USER_PREFIX):
        return None
    namespace, _, account = status.user.username.removeprefix(_USER_PREFIX).partition(":")
    if not namespace or not account:
        return None
    extra = {name: values[0] for name, values in status.user.extra.items() if values}
    return TokenIdentity(
        namespace=namespace,
        service_account=account,
        pod_name=extra.get(_EXTRA + "pod-name"),
        pod_uid=extra.get(_EXTRA + "pod-uid"),
        node_name=extra.get(_EXTRA + "node-name"),
    )
