"""Leader election: the decision, and replicas that compete."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ambimesh.controlplane.election import Election, Move, Observation, Terms, decide
from ambimesh.kube.objects import Lease, LeaseSpec, Metadata
from support.kube import FakeApi, connect

TERMS = Terms(lease_seconds=15, renew_within_seconds=10, retry_seconds=2)
QUICK = Terms(lease_seconds=1, renew_within_seconds=0.5, retry_seconds=0.01)


def lease(holder: str | None, version: str = "1") -> Lease:
    """Make a lease."""
    return Lease(
        metadata=Metadata(name="l", resource_version=version),
        spec=LeaseSpec(holder_identity=holder, lease_duration_seconds=15),
    )


@pytest.mark.parametrize(
    ("found", "seen_for", "move"),
    [
        (None, 0, Move.CREATE),
        (lease("me"), 100, Move.RENEW),
        (lease(""), 0, Move.TAKE),
        (lease(None), 0, Move.TAKE),
        (lease("other"), 14.9, Move.WAIT),
        (lease("other"), 15, Move.TAKE),
    ],
)
def test_lease_is_taken_only_when_it_is_nobodys(
    found: Lease | None, seen_for: float, move: Move
) -> None:
    """Another's lease is taken when it has not changed for its duration, by our own clock."""
    observation = Observation()
    observation.see(found, 100.0)

    assert decide(found, observation, "me", TERMS, 100.0 + seen_for) is move


def test_renewal_by_another_starts_the_wait_anew() -> None:
    """A lease that changes is alive, whatever its times say."""
    observation = Observation()
    observation.see(lease("other", "1"), 0.0)
    observation.see(lease("other", "2"), 14.0)

    assert decide(lease("other", "2"), observation, "me", TERMS, 20.0) is Move.WAIT


async def test_second_replica_leads_when_the_first_gives_back(tmp_path: Path) -> None:
    """One leads at a time; a lease that is given back is taken without waiting for its end."""
    cluster = await connect(FakeApi(), tmp_path)
    leading: list[str] = []
    changed = asyncio.Event()

    def replica(name: str) -> Election:
        return Election(cluster, "istio-system", name, clock=lambda: datetime.now(UTC), terms=QUICK)

    async def lead(name: str) -> None:
        leading.append(name)
        changed.set()
        await asyncio.Event().wait()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        one, two = replica("one"), replica("two")
        first = tasks.create_task(one.run(lambda: lead("one")))
        await changed.wait()
        changed.clear()
        second = tasks.create_task(two.run(lambda: lead("two")))
        first.cancel()
        await one.give_back()
        await changed.wait()
        second.cancel()

    assert leading == ["one", "two"]
    await cluster.close()


async def test_leader_that_cannot_renew_steps_down(tmp_path: Path) -> None:
    """Work stops before another replica may take the lease."""
    api = FakeApi()
    cluster = await connect(api, tmp_path)
    election = Election(cluster, "istio-system", "me", clock=lambda: datetime.now(UTC), terms=QUICK)
    begun, ended = asyncio.Event(), asyncio.Event()

    async def lead() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(election.run(lead))
        await begun.wait()
        api.refuse_all(503)
        await ended.wait()
        task.cancel()
    await cluster.close()
