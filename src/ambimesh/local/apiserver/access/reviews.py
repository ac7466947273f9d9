"""Reviews: whose is this token, may this user do that, what may I do.

Source: authentication.k8s.io/v1 and authorization.k8s.io/v1.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ambimesh.local.apiserver.access.attributes import Attributes
from ambimesh.local.apiserver.access.authorizer import Authorizer, Rule, rules_of
from ambimesh.local.apiserver.access.tokens import TokenError, Verified
from ambimesh.local.apiserver.access.user import User
from ambimesh.local.apiserver.status import bad_request
from ambimesh.local.apiserver.store.entry import JsonObject

Verify = Callable[[str, Sequence[str]], Verified]
"""Checks a token for some audiences; raises TokenError. No audiences: those of the API."""

_SELF_PATHS = (
    "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*",
    "/readyz", "/version",
)  # fmt: skip


class Reviews:
    """Answers reviews; nothing is stored."""

    def __init__(self, verify: Verify, authorizer: Authorizer) -> None:
        self._verify = verify
        self._authorizer = authorizer

    def answer(self, resource: str, namespace: str, body: JsonObject, user: User) -> JsonObject:
        """Fill in the status of a review.

        ``body`` has the right types. Errors: StatusError 400.
        """
        spec = body.get("spec") or {}
        match resource:
            case "tokenreviews":
                status = self._review_token(spec)
            case "selfsubjectreviews":
                status = {"userInfo": user.body()}
            case "selfsubjectaccessreviews":
                status = self._review_access(user, spec)
            case "subjectaccessreviews" | "localsubjectaccessreviews":
                asked = read_user(spec)
                inside = (spec.get("resourceAttributes") or {}).get("namespace") or ""
                if resource.startswith("local") and inside != namespace:
                    raise bad_request("spec.resourceAttributes.namespace must match the path")
                status = self._review_access(asked, spec)
            case _:
                status = list_rules(user)
        return {**body, "metadata": {}, "status": status}

    def _review_token(self, spec: dict[str, Any]) -> JsonObject:
        token, audiences = spec.get("token"), spec.get("audiences") or []
        if not isinstance(token, str) or not token:
            return {"authenticated": False, "user": {}, "error": "no token given"}
        try:
            verified = self._verify(token, [str(name) for name in audiences])
        except TokenError as error:
            return {"authenticated": False, "user": {}, "error": str(error)}
        return {
            "authenticated": True,
            "user": verified.user.body(),
            "audiences": list(verified.audiences),
        }

    def _review_access(self, user: User, spec: dict[str, Any]) -> JsonObject:
        wanted = read_attributes(spec)
        if self._authorizer.allows(user, wanted):
            return {"allowed": True}
        return {"allowed": False}


def read_user(spec: dict[str, Any]) -> User:
    """Read about whom an access review asks."""
    return User(
        name=str(spec.get("user") or ""),
        uid=str(spec.get("uid") or ""),
        groups=tuple(str(group) for group in spec.get("groups") or ()),
    )


def read_attributes(spec: dict[str, Any]) -> Attributes:
    """Read about what an access review asks.

    Errors: StatusError 400 when it asks about nothing, or about two things.
    """
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) == (path is None):
        raise bad_request("exactly one of nonResourceAttributes or resourceAttributes is required")
    given = {key: str(value) for key, value in (resource or path or {}).items()}
    if path is not None:
        return Attributes(verb=given.get("verb", ""), path=given.get("path", ""))
    return Attributes(
        verb=given.get("verb", ""),
        group=given.get("group", ""),
        resource=given.get("resource", ""),
        door=given.get("subresource", ""),
        namespace=given.get("namespace", ""),
        name=given.get("name", ""),
    )


def list_rules(user: User) -> JsonObject:
    """Give all rules that hold for a user, for ``kubectl auth can-i --list``."""
    return {
        "resourceRules": [_rule_body(rule) for rule in rules_of(user)],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": list(_SELF_PATHS)}],
        "incomplete": bool(user.node),  # it may also read what its pods refer to
    }


def _rule_body(rule: Rule) -> JsonObject:
    names = {} if "*" in rule.names else {"resourceNames": sorted(rule.names)}
    return {
        "verbs": sorted(rule.verbs),
        "apiGroups": sorted(rule.groups),
        "resources": sorted(rule.resources),
        **names,
    }
