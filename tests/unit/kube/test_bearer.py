"""Bearer tokens: who is asked, and for how long an answer holds."""

import asyncio
from collections.abc import Sequence

import pytest

from ambimesh.kube.bearer import BearerTokens
from ambimesh.kube.tokens import (
    ReviewedUser,
    ReviewStatus,
    TokenIdentity,
    TokenReview,
    token_identity,
)

WEB = TokenIdentity(namespace="shop", service_account="web")


class Reviewer:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.valid = {"good": WEB}

    async def review_token(self, token: str, audiences: Sequence[str]) -> TokenIdentity | None:
        """Answer from a table, after others had a chance to ask too."""
        assert audiences == ("istio-ca",)
        self.asked.append(token)
        await asyncio.sleep(0)
        return self.valid.get(token)


class Clock:
    """Seconds that tests move."""

    now = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


async def test_valid_token_is_asked_about_once_and_forgotten_in_time() -> None:
    """Many calls with one token are one question, until the answer is old."""
    reviewer, clock = Reviewer(), Clock()
    tokens = BearerTokens(reviewer, ["istio-ca"], clock=clock, remembered_seconds=10)

    found = await asyncio.gather(*(tokens.identify("Bearer good") for _ in range(20)))
    assert found == [WEB] * 20
    assert len(reviewer.asked) == 1
    reviewer.valid.clear()
    clock.now = 9.9
    assert await tokens.identify("Bearer good") == WEB
    clock.now = 10.0
    assert await tokens.identify("Bearer good") is None


async def test_bad_tokens_are_not_remembered() -> None:
    """A token that becomes valid is valid at once."""
    reviewer = Reviewer()
    tokens = BearerTokens(reviewer, ["istio-ca"], clock=Clock())
    assert await tokens.identify("Bearer new") is None

    reviewer.valid["new"] = WEB

    assert await tokens.identify("Bearer new") == WEB


@pytest.mark.parametrize(
    "header", ["", "good", "Basic good", "Bearer", "Bearer ", "Bearer " + "x" * 20000]
)
async def test_header_without_a_token_is_nobody(header: str) -> None:
    """Nobody is asked about what cannot be a token."""
    reviewer = Reviewer()
    tokens = BearerTokens(reviewer, ["istio-ca"], clock=Clock())

    assert await tokens.identify(header) is None
    assert reviewer.asked == []


def review(
    *,
    authenticated: bool = True,
    username: str = "system:serviceaccount:shop:web",
    groups: tuple[str, ...] = ("system:serviceaccounts",),
    audiences: tuple[str, ...] = ("istio-ca",),
) -> TokenReview:
    """Make a review."""
    user = ReviewedUser(
        username=username,
        groups=groups,
        extra={"authentication.kubernetes.io/pod-name": ("p",)},
    )
    return TokenReview(
        status=ReviewStatus(authenticated=authenticated, user=user, audiences=audiences)
    )


def test_review_of_a_service_account_names_it_and_its_pod() -> None:
    """A good review gives the account and what the token is bound to."""
    assert token_identity(review(), ("istio-ca",)) == TokenIdentity(
        namespace="shop", service_account="web", pod_name="p"
    )


@pytest.mark.parametrize(
    "bad",
    [
        review(authenticated=False),
        review(username="admin"),
        review(username="system:serviceaccount:shop"),
        review(groups=()),
        review(audiences=()),
        review(audiences=("api",)),
    ],
    ids=["refused", "a person", "half a name", "no group", "unchecked audience", "other audience"],
)
def test_review_that_proves_no_service_account_is_nobody(bad: TokenReview) -> None:
    """Also when the server did not check the audience."""
    assert token_identity(bad, ("istio-ca",)) is None
