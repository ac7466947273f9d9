"""Conditions: when they are written, and what they say."""

from datetime import UTC, datetime

import pytest

from ambimesh.compile.condition import Verdict
from ambimesh.controlplane.statuses import condition
from ambimesh.kube.istio import ConditionsStatus
from ambimesh.kube.objects import AuthorizationPolicy, Condition, Metadata

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
VERDICT = Verdict(
    type="ZtunnelAccepted", accepted=True, reason="Accepted", message="enforced", generation=2
)
HAS = Condition(
    type="ZtunnelAccepted",
    status="True",
    reason="Accepted",
    message="enforced",
    observed_generation=2,
    last_transition_time="2026-01-01T00:00:00Z",
)


def policy(*conditions: Condition) -> AuthorizationPolicy:
    """Make a policy that has conditions."""
    status = ConditionsStatus(conditions=conditions)
    return AuthorizationPolicy(metadata=Metadata(name="p", generation=2), status=status)


def with_(**fields: object) -> Condition:
    """Make a condition that differs in some fields from the one that is wanted."""
    values = {name: getattr(HAS, name) for name in HAS.__struct_fields__}
    return Condition(**{**values, **fields})


@pytest.mark.parametrize("has", [HAS, with_(observed_generation="2")])
def test_condition_that_is_there_is_not_written(has: Condition) -> None:
    """Every write would be an event for every watcher. Istio writes the generation as text."""
    assert condition(VERDICT, policy(has), NOW) is None


@pytest.mark.parametrize(
    "has",
    [
        with_(type="Other"),
        with_(reason="Else"),
        with_(message="else"),
        with_(status="False"),
        with_(observed_generation=1),
    ],
)
def test_condition_that_differs_is_written(has: Condition) -> None:
    """Any difference that people see counts."""
    assert condition(VERDICT, policy(has), NOW) is not None


def test_transition_time_moves_only_with_the_status() -> None:
    """A new message is no transition."""
    same = condition(VERDICT, policy(with_(message="old")), NOW)
    other = condition(VERDICT, policy(with_(status="False")), NOW)

    assert same is not None
    assert same["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert other is not None
    assert other["lastTransitionTime"] == "2026-01-02T03:04:05Z"
