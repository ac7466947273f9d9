"""Keeps a node's service addresses as the API says, also for pods that are not captured."""

import asyncio
from collections.abc import Callable, Iterator

import structlog

from ambimesh.kube.core import EndpointSlice, Service
from ambimesh.kube.reflector import Reflector
from ambimesh.local import addresses
from ambimesh.local.services.backends import Backends, service_backends
from ambimesh.local.services.service_rules import base_ruleset, changes
from ambimesh.node import nftables

log = structlog.get_logger("services")

SETTLE_SECONDS = 0.05  # a rollout changes many slices at once
RETRY_SECONDS = 1.0


class ServiceAddresses:
    """Programs the rules of one node's namespace from services and their slices."""

    def __init__(
        self,
        namespace: int,
        services: Reflector[Service],
        slices: Reflector[EndpointSlice],
    ) -> None:
        self._namespace = namespace  # the node's network namespace, the caller's descriptor
        self._services = services
        self._slices = slices
        self._programmed: Backends | None = None  # None: what stands in the table is not known
        self._changed = asyncio.Event()

    async def run(self, *, started: Callable[[], None]) -> None:
        """Program what is known, call ``started``, and follow changes until cancelled."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        await self._program()
        started()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(self._services), name="services")
            tasks.create_task(self._follow(self._slices), name="endpoint slices")
            while True:
                await self._changed.wait()
                await asyncio.sleep(SETTLE_SECONDS)
                self._changed.clear()
                await self._program()

    async def _follow(self, reflector: Reflector[Service] | Reflector[EndpointSlice]) -> None:
        async for _ in reflector.changes():
            self._changed.set()

    async def _program(self) -> None:
        """Put the services of this moment in force, as often as it takes."""
        while True:
            services = self._services.snapshot().values()
            wanted = service_backends(services, self._slices.snapshot().values())
            before, self._programmed = self._programmed, None
            try:
                for transaction in transactions(before, wanted):
                    await asyncio.to_thread(nftables.load, self._namespace, transaction)
            except nftables.RulesetError as error:
                # Part of it may be in force: only the whole, from the start, is known to be right.
                log.warning("service addresses not programmed; starting over", reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._programmed = wanted
                return


def transactions(before: Backends | None, after: Backends) -> Iterator[str]:
    """Give what turns the rules of ``before`` into those of ``after``; pure.

    ``None`` is a table that nobody knows, perhaps an earlier agent's: the first transaction
    replaces it and has the first services as well, so that few meshes see an empty moment.
    """
    if before is not None:
        yield from changes(before, after)
        return
    parts = changes({}, after)
    yield base_ruleset(addresses.services().both) + next(parts, "")
    yield from parts
