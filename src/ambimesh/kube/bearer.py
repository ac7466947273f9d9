"""Bearer tokens of callers, checked by the API server."""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ambimesh.kube.tokens import TokenIdentity

_SCHEME: Final = "bearer "
_LONGEST_TOKEN_BYTES: Final = 16 << 10
_CACHED_TOKENS: Final = 4096


class TokenReviewer(Protocol):
    """What can tell whom a token speaks for; ``Cluster`` is one."""

    async def review_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """Tell whom a token speaks for; ``None``: it is not valid."""


class BearerTokens:
    """Checks bearer tokens, and remembers the good ones for a few seconds.

    A node proxy asks for hundreds of certificates with one token at its start; each question
    would be a request to the API server. A revoked token is good until it is forgotten here.
    """

    def __init__(
        self,
        reviewer: TokenReviewer,
        audiences: Sequence[str],
        *,
        clock: Callable[[], float],
        remembered_seconds: float = 10.0,
    ) -> None:
        self._reviewer = reviewer
        self._audiences = tuple(audiences)
        self._clock = clock
        self._remembered_seconds = remembered_seconds
        self._known: OrderedDict[bytes, tuple[float, TokenIdentity]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Lock] = {}

    async def identify(self, authorization: str) -> TokenIdentity | None:
        """Tell whom an ``authorization`` header speaks for; ``None``: nobody.

        Errors: those of the API server, when it cannot be asked.
        """
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            return None
        token = authorization[len(_SCHEME) :].strip()
        if not token or len(token) > _LONGEST_TOKEN_BYTES:
            return None
        digest = hashlib.sha256(token.encode()).digest()
        lock = self._asking.setdefault(digest, asyncio.Lock())
        try:
            async with lock:  # of many calls with one new token, one asks
                return self._remembered(digest) or await self._ask(token, digest)
        finally:
            if not lock.locked():
                self._asking.pop(digest, None)

    def _remembered(self, digest: bytes) -> TokenIdentity | None:
        until, identity = self._known.get(digest, (0.0, None))
        return identity if until > self._clock() else None

    async def _ask(self, token: str, digest: bytes) -> TokenIdentity | None:
        identity = await self._reviewer.review_token(token, self._audiences)
        self._known.pop(digest, None)
        if identity is not None:
            self._known[digest] = (self._clock() + self._remembered_seconds, identity)
            if len(self._known) > _CACHED_TOKENS:
                self._known.popitem(last=False)
        return identity
