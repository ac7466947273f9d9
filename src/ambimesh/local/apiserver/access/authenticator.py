"""From a bearer token to a user: a component's own credential, or a service account's."""

from collections.abc import Sequence

from ambimesh.local.apiserver.access import components
from ambimesh.local.apiserver.access.tokens import (
    ISSUER,
    ServiceAccountTokens,
    TokenError,
    Verified,
)

API_AUDIENCES = (ISSUER,)


class Authenticator:
    """Checks both kinds of token."""

    def __init__(self, component_key: bytes, tokens: ServiceAccountTokens) -> None:
        self._component_key = component_key
        self._tokens = tokens

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Verified:
        """Check a token; without audiences, for those of this API.

        Errors: TokenError.
        """
        wanted = tuple(audiences) or API_AUDIENCES
        user = components.user_of(self._component_key, token)
        if user is None:
            return self._tokens.verify(token, wanted)
        shared = tuple(name for name in API_AUDIENCES if name in wanted)
        if not shared:
            raise TokenError(f"a component's token is for this API, not for {list(wanted)}")
        return Verified(user, shared)

    def bearer(self, authorization: str) -> Verified:
        """Check the value of an Authorization header.

        Errors: TokenError.
        """
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise TokenError("no bearer token")
        return self.verify(token.strip())
