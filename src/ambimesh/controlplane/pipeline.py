"""From objects to pushes: gathers changes, has them compiled, hands on what differs."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

import structlog

from ambimesh.compile.incremental import INPUTS, Delta, MeshCompiler
from ambimesh.controlplane.metrics import ControlPlaneMetrics
from ambimesh.controlplane.settings import Pacing
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.meta import Resource
from ambimesh.kube.reflector import Reflector
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import ResourceName
from ambimesh.wire.resources import (
    ADDRESS_TYPE,
    AUTHORIZATION_TYPE,
    address_resource,
    authorization_resource,
)
from ambimesh.wire.resources import Resource as WireResource

Key = tuple[str, str]  # (namespace, name)
Changes = Mapping[str, Mapping[ResourceName, WireResource | None]]  # by type URL
Publish = Callable[[Changes], Awaitable[None]]
Notice = Callable[[type[Resource], frozenset[Key]], None]

_log = structlog.get_logger(__name__)


class Pipeline:
    """Keeps what is served equal to what the API server has.

    Args:
        cluster: Where the objects come from.
        mesh: Settings of the mesh.
        pacing: How changes are gathered.
        publish: Takes what differs.
        metrics: Takes how long compiling took.
    """

    def __init__(
        self,
        cluster: Cluster,
        mesh: Mesh,
        pacing: Pacing,
        publish: Publish,
        metrics: ControlPlaneMetrics,
    ) -> None:
        self.compiler = MeshCompiler(mesh)
        self.reflectors: Mapping[type[Resource], Reflector[Any]] = {
            kind: cluster.reflector(kind) for kind in INPUTS
        }
        self.before_compile: list[Notice] = []  # told of changed objects as they come
        self.after_compile: list[Notice] = []  # told of them when they have been compiled
        self._pacing = pacing
        self._publish = publish
        self._metrics = metrics
        self._pending: dict[type[Resource], set[Key]] = {}
        self._wake = asyncio.Event()

    async def run(self, *, started: Callable[[], None]) -> None:
        """Follow the objects until cancelled; call ``started`` after the first publish."""
        async with asyncio.TaskGroup() as tasks:
            for kind, reflector in self.reflectors.items():
                tasks.create_task(reflector.run(started=lambda: None))
                tasks.create_task(self._gather(kind, reflector.changes()))
            for reflector in self.reflectors.values():
                await reflector.wait_synced()
            while len(self._pending) < len(INPUTS):  # the first change of each names everything
                await self._woken()
            await self._step()
            gc.collect()
            gc.freeze()  # what is there at the start mostly stays: never look at it again
            started()
            while True:
                await self._woken()
                await self._settle()
                await self._step()

    async def _gather(self, kind: type[Resource], changes: AsyncIterator[frozenset[Key]]) -> None:
        async for keys in changes:
            self._pending.setdefault(kind, set()).update(keys)
            for notice in self.before_compile:
                notice(kind, keys)
            self._wake.set()

    async def _woken(self) -> None:
        await self._wake.wait()
        self._wake.clear()

    async def _settle(self) -> None:
        """Wait for a moment without changes, but not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pacing.longest_seconds):
                while True:
                    await asyncio.sleep(self._pacing.quiet_seconds)
                    if not self._wake.is_set():
                        return
                    self._wake.clear()

    async def _step(self) -> None:
        pending, self._pending = self._pending, {}
        with self._metrics.compile_seconds.time():
            changes = self._compile(pending)
        for kind, keys in pending.items():
            for notice in self.after_compile:
                notice(kind, frozenset(keys))
        if changes:
            await self._publish(changes)

    def _compile(self, pending: Mapping[type[Resource], set[Key]]) -> Changes:
        for kind in INPUTS:
            reflector = self.reflectors[kind]
            for key in pending.get(kind, ()):
                self.compiler.put(kind, key, reflector.get(*key))
        return _serialise(self.compiler.take())


def _serialise(delta: Delta) -> Changes:
    changes: dict[str, Mapping[ResourceName, WireResource | None]] = {}
    if delta.addresses:
        changes[ADDRESS_TYPE] = {
            name: address_resource(address) if address is not None else None
            for name, address in delta.addresses.items()
        }
    if delta.authorizations:
        changes[AUTHORIZATION_TYPE] = {
            name: authorization_resource(policy) if policy is not None else None
            for name, policy in delta.authorizations.items()
        }
    return changes
