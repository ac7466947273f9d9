"""Service-account tokens: JWTs signed with ES256, bound to objects that must still exist.

Source: Kubernetes' bound service account tokens, and TokenRequest of authentication.k8s.io/v1.
"""

import json
import uuid
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from ambimesh.local.apiserver.access.user import User, account_groups, account_name
from ambimesh.local.apiserver.store.entry import JsonObject, Key

ISSUER = "https://kubernetes.default.svc.cluster.local"
LEAST_SECONDS = 600
DEFAULT_SECONDS = 3600
MOST_SECONDS = 48 * 3600
_CACHED_TOKENS = 2048  # a signature costs 0.2 ms; an agent uses one token for an hour
_CLAIM = "kubernetes.io"
_EXTRA = "authentication.kubernetes.io/"

Find = Callable[[str, Key], JsonObject | None]
"""Gives the latest state of an object: resource name, key."""


class TokenError(Exception):
    """A token that is not good, or not any more; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a new token is for."""

    account: JsonObject
    audiences: tuple[str, ...]
    seconds: int
    pod: JsonObject | None = None
    node: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """A good token: whose it is, and for which audiences."""

    user: User
    audiences: tuple[str, ...]


class ServiceAccountTokens:
    """Issues and checks tokens with one key."""

    def __init__(self, key: ECKey, find: Find, clock: Callable[[], float]) -> None:
        self._key = key
        self._find = find
        self._clock = clock
        self._seen: OrderedDict[str, dict[str, Any]] = OrderedDict()

    def public_keys(self) -> dict[str, Any]:
        """Give the key set with which anyone can check our tokens."""
        public = dict(self._key.as_dict(private=False))
        return {"keys": [{**public, "use": "sig", "alg": "ES256", "kid": self._key_id}]}

    @property
    def _key_id(self) -> str:
        return self._key.thumbprint()

    def issue(self, grant: Grant) -> tuple[str, int]:
        """Make a token; gives it and when it expires, in seconds since the epoch."""
        now = int(self._clock())
        metadata = grant.account["metadata"]
        bound: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        for name, obj in (("pod", grant.pod), ("node", grant.node)):
            if obj is not None:
                bound[name] = {"name": obj["metadata"]["name"], "uid": obj["metadata"]["uid"]}
        claims = {
            "iss": ISSUER,
            "sub": account_name(metadata["namespace"], metadata["name"]),
            "aud": list(grant.audiences),
            "iat": now,
            "nbf": now,
            "exp": now + grant.seconds,
            "jti": str(uuid.uuid4()),
            _CLAIM: bound,
        }
        token = jwt.encode({"alg": "ES256", "kid": self._key_id}, claims, self._key)
        return token, now + grant.seconds

    def verify(self, token: str, audiences: Sequence[str]) -> Verified:
        """Check a token for any of some audiences.

        Errors: TokenError, also when an object it is bound to is gone.
        """
        claims = self._claims(token)
        now = self._clock()
        if not claims["nbf"] - 5 <= now < claims["exp"]:  # 5 s: clocks of one machine may step
            raise TokenError("token has expired or is not valid yet")
        shared = tuple(name for name in claims["aud"] if name in audiences)
        if not shared:
            raise TokenError(f"token audiences {claims['aud']} are not for {list(audiences)}")
        return Verified(self._user(claims), shared)

    def _claims(self, token: str) -> dict[str, Any]:
        known = self._seen.get(token)
        if known is not None:
            self._seen.move_to_end(token)
            return known
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, algorithms=["ES256"]).claims
        except (JoseError, ValueError, TypeError, json.JSONDecodeError) as error:
            raise TokenError(f"invalid bearer token: {error}") from error
        if claims.get("iss") != ISSUER or not isinstance(claims.get(_CLAIM), dict):
            raise TokenError("invalid bearer token: not issued here")
        self._seen[token] = claims
        if len(self._seen) > _CACHED_TOKENS:
            self._seen.popitem(last=False)
        return claims

    def _user(self, claims: dict[str, Any]) -> User:
        bound = claims[_CLAIM]
        namespace, account = bound["namespace"], bound["serviceaccount"]
        self._require("serviceaccounts", Key(namespace, account["name"]), account["uid"])
        extra: dict[str, tuple[str, ...]] = {_EXTRA + "credential-id": (f"JTI={claims['jti']}",)}
        if pod := bound.get("pod"):
            self._require("pods", Key(namespace, pod["name"]), pod["uid"])
            extra[_EXTRA + "pod-name"] = (pod["name"],)
            extra[_EXTRA + "pod-uid"] = (pod["uid"],)
        if node := bound.get("node"):
            extra[_EXTRA + "node-name"] = (node["name"],)
            extra[_EXTRA + "node-uid"] = (node["uid"],)
        return User(
            name=account_name(namespace, account["name"]),
            uid=account["uid"],
            groups=account_groups(namespace),
            extra=extra,
        )

    def _require(self, resource: str, key: Key, uid: str) -> None:
        obj = self._find(resource, key)
        if obj is None or obj["metadata"]["uid"] != uid:
            raise TokenError(f"the token is bound to {resource} {key.name}, which is gone")
