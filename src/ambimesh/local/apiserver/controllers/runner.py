"""Runs all controllers of the embedded API."""

import asyncio
from collections.abc import Callable

from ambimesh.local.apiserver.controllers.collector import Collector
from ambimesh.local.apiserver.controllers.deployments import Deployments
from ambimesh.local.apiserver.controllers.events import EventExpiry, Recorder
from ambimesh.local.apiserver.controllers.loop import ControllerLoop, Reconciler
from ambimesh.local.apiserver.controllers.namespaces import Namespaces
from ambimesh.local.apiserver.controllers.replica_sets import ReplicaSets
from ambimesh.local.apiserver.controllers.scheduler import NAME, Scheduler
from ambimesh.local.apiserver.controllers.slices import Slices
from ambimesh.local.apiserver.objects.registry import Companions, Registry


class Controllers:
    """Every controller, as one service."""

    def __init__(self, registry: Registry, companions: Companions) -> None:
        self._registry = registry
        self._reconcilers: tuple[Reconciler, ...] = (
            Namespaces(registry, companions),
            Collector(registry),
            Slices(registry),
            Deployments(registry, Recorder(registry, "deployment-controller")),
            ReplicaSets(registry, Recorder(registry, "replicaset-controller")),
            Scheduler(registry, Recorder(registry, NAME)),
        )

    async def run(self, *, started: Callable[[], None]) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            for reconciler in self._reconcilers:
                loop = ControllerLoop(self._registry.store, reconciler)
                group.create_task(loop.run(started=_nothing))
            group.create_task(EventExpiry(self._registry).run(started=_nothing))
            started()


def _nothing() -> None:
    """Nobody waits for one controller alone."""
