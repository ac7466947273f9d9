"""Who leads: the decision is pure, the lease is a Kubernetes Lease.

Source: client-go's leader election. A lease counts as expired when it has not *changed* for
its duration by our own clock; the times in it are for people.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

import structlog

from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import Lease, LeaseSpec
from ambimesh.kube.errors import ObjectConflictError, ObjectExistsError, words
from ambimesh.kube.meta import Metadata

LEASE_NAME: Final = "ambimesh-leader"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How long a lease lasts, and how often it is looked at."""

    lease_seconds: float = 15.0
    renew_within_seconds: float = 10.0  # a leader that could not renew for so long steps down
    retry_seconds: float = 2.0


class Move(StrEnum):
    """What to do about the lease now."""

    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    WAIT = "wait"


@dataclass(slots=True)
class Observation:
    """What was last seen of the lease, and when it last changed by our own clock."""

    version: str = ""
    since: float = 0.0

    def see(self, lease: Lease | None, now: float) -> None:
        """Note what the lease looks like now."""
        version = lease.metadata.resource_version if lease is not None else ""
        if version != self.version:
            self.version = version
            self.since = now


def decide(
    lease: Lease | None, observation: Observation, me: str, terms: Terms, now: float
) -> Move:
    """Decide what to do about the lease. Pure."""
    if lease is None:
        return Move.CREATE
    holder = lease.spec.holder_identity
    if holder == me:
        return Move.RENEW
    lasts = lease.spec.lease_duration_seconds or terms.lease_seconds
    if not holder or now - observation.since >= lasts:
        return Move.TAKE
    return Move.WAIT


class Election:
    """Runs something while this replica leads.

    Args:
        cluster: Where the lease is.
        namespace: Its namespace.
        me: This replica; stable across restarts where no other can have the same name.
        clock: The time of day, in UTC.
        terms: Durations.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        me: str,
        *,
        clock: Callable[[], datetime],
        terms: Terms | None = None,
    ) -> None:
        self.leads = False
        self._cluster = cluster
        self._namespace = namespace
        self._me = me
        self._clock = clock
        self._terms = terms or Terms()
        self._observation = Observation()

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Compete until cancelled; run ``lead`` while leading, and cancel it when not.

        The lease is given back on cancellation, so that another replica need not wait.
        """
        loop = asyncio.get_running_loop()
        while True:
            if not await self._try(loop.time()):
                await asyncio.sleep(self._terms.retry_seconds)
                continue
            self.leads = True
            _log.info("leading", lease=LEASE_NAME, me=self._me)
            try:
                await self._term(lead)
            finally:
                self.leads = False
                _log.info("no longer leading", lease=LEASE_NAME, me=self._me)

    async def _term(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Run ``lead`` until the lease cannot be kept."""
        async with asyncio.TaskGroup() as tasks:
            work = tasks.create_task(_awaited(lead), name="lead")
            try:
                await self._keep()
            finally:
                work.cancel()

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while loop.time() - renewed < self._terms.renew_within_seconds:
            await asyncio.sleep(self._terms.retry_seconds)
            now = loop.time()
            if await self._try(now):
                renewed = now

    async def _try(self, now: float) -> bool:
        """Get or keep the lease, if possible; tell whether it is ours."""
        try:
            async with asyncio.timeout(self._terms.renew_within_seconds / 2):
                return await self._act(now)
        except (ObjectExistsError, ObjectConflictError):
            return False  # another replica was faster
        except (MeshError, TimeoutError) as error:
            _log.warning("lease not reached", lease=LEASE_NAME, error=words(error))
            return False

    async def _act(self, now: float) -> bool:
        lease = await self._cluster.find(Lease, LEASE_NAME, self._namespace)
        self._observation.see(lease, now)
        move = decide(lease, self._observation, self._me, self._terms, now)
        if move is Move.WAIT:
            return False
        if move is Move.CREATE:
            metadata = Metadata(name=LEASE_NAME, namespace=self._namespace)
            await self._cluster.create(Lease(metadata=metadata, spec=self._spec(None)))
            return True
        assert lease is not None
        old = lease.spec if move is Move.RENEW else None
        transitions = lease.spec.lease_transitions + (1 if move is Move.TAKE else 0)
        await self._cluster.replace(
            Lease(metadata=lease.metadata, spec=self._spec(old, transitions))
        )
        return True

    async def give_back(self) -> None:
        """Let another replica take the lease at once."""
        lease = await self._cluster.find(Lease, LEASE_NAME, self._namespace)
        if lease is not None and lease.spec.holder_identity == self._me:
            spec = LeaseSpec(
                holder_identity="",
                lease_duration_seconds=1,
                lease_transitions=lease.spec.lease_transitions,
            )
            await self._cluster.replace(Lease(metadata=lease.metadata, spec=spec))

    def _spec(self, old: LeaseSpec | None, transitions: int = 0) -> LeaseSpec:
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return LeaseSpec(
            holder_identity=self._me,
            lease_duration_seconds=int(self._terms.lease_seconds),
            acquire_time=old.acquire_time if old is not None else now,
            renew_time=now,
            lease_transitions=transitions,
        )


async def _awaited(lead: Callable[[], Awaitable[None]]) -> None:
    await lead()
