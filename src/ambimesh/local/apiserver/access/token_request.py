"""TokenRequest: a new token of a service account, bound to a pod when asked.

Source: authentication.k8s.io/v1 TokenRequest; kubelet's rules for tokens from the Node authorizer.
"""

from datetime import UTC, datetime
from typing import Any

from ambimesh.local.apiserver.access.authenticator import API_AUDIENCES
from ambimesh.local.apiserver.access.tokens import (
    DEFAULT_SECONDS,
    LEAST_SECONDS,
    MOST_SECONDS,
    Find,
    Grant,
    ServiceAccountTokens,
)
from ambimesh.local.apiserver.access.user import User
from ambimesh.local.apiserver.builtin import PODS
from ambimesh.local.apiserver.objects.options import timestamp
from ambimesh.local.apiserver.status import (
    StatusError,
    conflict,
    forbidden,
    invalid_field,
    not_found,
)
from ambimesh.local.apiserver.store.entry import JsonObject, Key
from ambimesh.local.apiserver.types.kinds import Kind


class TokenRequests:
    """Answers TokenRequests."""

    def __init__(self, tokens: ServiceAccountTokens, find: Find) -> None:
        self._tokens = tokens
        self._find = find

    def answer(self, kind: Kind, key: Key, body: JsonObject, user: User) -> JsonObject:
        """Make a token for a service account; ``kind`` is that of service accounts.

        Errors: StatusError 403, 404, 409, 422.
        """
        account = self._find("serviceaccounts", key)
        if account is None:
            raise not_found(kind, key.name)
        spec = body.get("spec") or {}
        seconds = _read_seconds(kind, key, spec)
        pod = self._bound_pod(kind, key, spec.get("boundObjectRef"))
        if user.node and (pod is None or _node_of(pod) != user.node):
            why = f"node {user.node!r} requested a token that is not bound to a pod on it"
            raise forbidden(kind, key.name, why)
        audiences = tuple(str(name) for name in spec.get("audiences") or ()) or API_AUDIENCES
        node = self._find("nodes", Key("", _node_of(pod))) if pod and _node_of(pod) else None
        token, expires = self._tokens.issue(
            Grant(account=account, audiences=audiences, seconds=seconds, pod=pod, node=node)
        )
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "spec": {**spec, "audiences": list(audiences), "expirationSeconds": seconds},
            "status": {
                "token": token,
                "expirationTimestamp": timestamp(datetime.fromtimestamp(expires, UTC)),
            },
        }

    def _bound_pod(self, kind: Kind, key: Key, reference: Any) -> JsonObject | None:
        if reference is None:
            return None
        name, uid = str(reference.get("name") or ""), reference.get("uid")
        if (reference.get("kind"), reference.get("apiVersion")) != ("Pod", "v1"):
            told = f"Invalid value: {reference.get('kind')!r}: tokens are bound to pods only"
            raise invalid_field(kind, key.name, "spec.boundObjectRef", told)
        pod = self._find("pods", Key(key.namespace, name))
        if pod is None:
            raise not_found(PODS, name)
        if uid and uid != pod["metadata"]["uid"]:
            have = pod["metadata"]["uid"]
            why = f"the UID in the bound object reference ({uid}) does not match the UID in record ({have})"
            raise conflict(PODS, name, why)
        if pod["spec"].get("serviceAccountName") != key.name:
            why = f"cannot bind token for serviceaccount {key.name!r} to pod running with different serviceaccount name"
            raise StatusError(400, why)
        return pod


def _node_of(pod: JsonObject) -> str:
    return str(pod["spec"].get("nodeName") or "")


def _read_seconds(kind: Kind, key: Key, spec: dict[str, Any]) -> int:
    seconds = spec.get("expirationSeconds")
    if seconds is None:
        return DEFAULT_SECONDS
    if not isinstance(seconds, int) or seconds < LEAST_SECONDS:
        told = f"Invalid value: {seconds}: may not specify a duration less than 10 minutes"
        raise invalid_field(kind, key.name, "spec.expirationSeconds", told)
    return min(seconds, MOST_SECONDS)
