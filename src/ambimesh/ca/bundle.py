"""The trust bundle in every namespace, where proxies mount it from."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import structlog

from ambimesh.ca.root import RootKeeper
from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import ConfigMap, Namespace
from ambimesh.kube.errors import ObjectNotFoundError, words

CONFIG_MAP: Final = "istio-ca-root-cert"
KEY: Final = "root-cert.pem"
LABELS: Final[Mapping[str, str]] = {"istio.io/config": "true"}
EXCLUDED: Final = frozenset(("kube-public", "kube-node-lease", "local-path-storage"))
MANAGER: Final = "istio-ca-root-cert"

Key = tuple[str, str]  # (namespace, name)

_log = structlog.get_logger(__name__)


class BundleDistributor:
    """Writes the trust bundle into every namespace, and again when somebody changes it."""

    def __init__(self, cluster: Cluster, roots: RootKeeper, *, retry_seconds: float = 1.0) -> None:
        self._cluster = cluster
        self._roots = roots
        self._retry_seconds = retry_seconds
        self._wake = asyncio.Event()

    async def run(self, *, started: Callable[[], None]) -> None:
        """Keep every namespace right until cancelled; call ``started`` once all are."""
        namespaces = self._cluster.reflector(Namespace)
        config_maps = self._cluster.reflector(ConfigMap, fields=f"metadata.name={CONFIG_MAP}")
        async with asyncio.TaskGroup() as tasks:
            for reflector in (namespaces, config_maps):
                tasks.create_task(reflector.run(started=lambda: None))
                tasks.create_task(self._wake_on(reflector.changes()))
            tasks.create_task(self._wake_on_roots())
            await namespaces.wait_synced()
            await config_maps.wait_synced()
            announced = False
            while True:
                await self._wake.wait()
                self._wake.clear()
                done = await self._write(namespaces.snapshot(), config_maps.snapshot())
                if not done:
                    await asyncio.sleep(self._retry_seconds)
                    self._wake.set()
                elif not announced:
                    announced = True
                    started()

    async def _wake_on(self, changes: AsyncIterator[object]) -> None:
        async for _ in changes:
            self._wake.set()

    async def _wake_on_roots(self) -> None:
        while True:
            await self._roots.changed.wait()
            self._roots.changed.clear()
            self._wake.set()

    async def _write(
        self, namespaces: Mapping[Key, Namespace], config_maps: Mapping[Key, ConfigMap]
    ) -> bool:
        """Write what is wrong; tell whether nothing is left to be done."""
        authority = self._roots.current()
        if authority is None:
            return False
        done = True
        for namespace in wrong_namespaces(namespaces, config_maps, authority.bundle()):
            try:
                await self._write_one(namespace, authority.bundle())
            except ObjectNotFoundError:
                continue  # the namespace has gone meanwhile
            except MeshError as error:
                _log.warning("trust bundle not written", namespace=namespace, error=words(error))
                done = False
        return done

    async def _write_one(self, namespace: str, bundle: str) -> None:
        await self._cluster.patch(
            ConfigMap,
            CONFIG_MAP,
            namespace,
            {"metadata": {"labels": dict(LABELS)}, "data": {KEY: bundle}},
            style="apply",
            manager=MANAGER,
        )


def wrong_namespaces(
    namespaces: Mapping[Key, Namespace], config_maps: Mapping[Key, ConfigMap], bundle: str
) -> list[str]:
    """Name the namespaces whose trust bundle is missing or differs. Pure."""
    return [
        name
        for _, name in sorted(namespaces)
        if name not in EXCLUDED
        and namespaces["", name].metadata.deletion_timestamp is None
        and not _is_right(config_maps.get((name, CONFIG_MAP)), bundle)
    ]


def _is_right(config_map: ConfigMap | None, bundle: str) -> bool:
    if config_map is None or config_map.data.get(KEY) != bundle:
        return False
    return all(config_map.metadata.labels.get(name) == value for name, value in LABELS.items())
