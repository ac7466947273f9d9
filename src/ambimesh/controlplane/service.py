"""The control plane: everything wired together, with one owner for each task."""

import asyncio
import functools
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import structlog

from ambimesh.ca.bundle import BundleDistributor
from ambimesh.ca.permission import NodeAuthorizer
from ambimesh.ca.root import RootKeeper
from ambimesh.ca.service import CertificateService
from ambimesh.ca.serving import ServingCertificate, serving_names
from ambimesh.compile.incremental import MeshCompiler
from ambimesh.controlplane import debug
from ambimesh.controlplane.election import Election
from ambimesh.controlplane.meshconfig import CONFIG_MAP, read_mesh
from ambimesh.controlplane.metrics import CONTENT_TYPE, ControlPlaneMetrics
from ambimesh.controlplane.monitor import Answer, Monitor, Page
from ambimesh.controlplane.pipeline import Pipeline
from ambimesh.controlplane.placement import Placement
from ambimesh.controlplane.server import MeshServer
from ambimesh.controlplane.settings import Endpoint, Settings
from ambimesh.controlplane.statuses import StatusWriter
from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.bearer import BearerTokens
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import ConfigMap, Namespace, Pod
from ambimesh.kube.errors import words
from ambimesh.kube.reflector import Reflector
from ambimesh.model.mesh import Mesh
from ambimesh.xds.admission import Admission
from ambimesh.xds.service import DiscoveryService
from ambimesh.xds.store import ResourceStore

_GIVE_BACK_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a control plane can be reached."""

    discovery: tuple[Endpoint, ...]
    monitor: Endpoint


class MeshChangedError(Exception):
    """The mesh config says something else than at the start: the process must start anew."""


class ControlPlane:
    """One control plane, from its API server to its ports."""

    def __init__(self, settings: Settings, cluster: Cluster) -> None:
        self._settings = settings
        self._cluster = cluster
        self._tokens = BearerTokens(cluster, settings.audiences, clock=time.monotonic)
        self._metrics = ControlPlaneMetrics()
        self._discovery = DiscoveryService(
            ResourceStore(epoch=_utc_now().strftime("%Y-%m-%dT%H:%M:%SZ")),
            identify=self._tokens.identify,
            admission=Admission(settings.pacing.streams_per_second, clock=time.monotonic),
            clock=time.time,
        )
        self._pipeline: Pipeline | None = None

    async def run(self, *, started: Callable[[Listening], None]) -> None:
        """Serve until cancelled; call ``started`` once everything is served.

        Errors: ``EnvironmentFaultError`` when a port cannot be had; ``MeshChangedError``.
        Cancellation: streams are ended so that their clients connect elsewhere.
        """
        async with await self._start_monitor() as monitor:
            try:
                await self._follow_mesh(monitor, started)
            except BaseExceptionGroup as group:
                raise _first_cause(group) from group
            finally:
                self._discovery.close()

    async def _follow_mesh(
        self, monitor: asyncio.Server, started: Callable[[Listening], None]
    ) -> None:
        config = self._cluster.reflector(
            ConfigMap, namespace=self._settings.namespace, fields=f"metadata.name={CONFIG_MAP}"
        )
        host, port = monitor.sockets[0].getsockname()[:2]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(config.run(started=lambda: None))
            mesh = await self._read_mesh(config)
            tasks.create_task(self._watch_mesh(config, mesh))
            await self._serve(mesh, Endpoint(host=host, port=port), started)

    async def _serve(
        self, mesh: Mesh, monitor: Endpoint, started: Callable[[Listening], None]
    ) -> None:
        settings = self._settings
        pipeline = Pipeline(
            self._cluster, mesh, settings.pacing, self._discovery.publish, self._metrics
        )
        self._pipeline = pipeline
        roots = RootKeeper(self._cluster, settings.namespace, mesh.trust_domain, clock=_utc_now)
        certificates = self._certificate_service(pipeline, roots, mesh)
        self._metrics.observe(self._discovery, certificates, roots)
        statuses = StatusWriter(self._cluster, pipeline, clock=_utc_now)
        pipeline.after_compile.append(statuses.compiled)
        bundles = BundleDistributor(self._cluster, roots)
        addresses = [endpoint.host for endpoint in settings.listen]
        names = serving_names(settings.namespace, [*addresses, *settings.serving_addresses])
        server = MeshServer(
            (self._discovery.handler(), certificates.handler()),
            ServingCertificate(roots.current, names, clock=_utc_now),
        )
        election = Election(self._cluster, settings.namespace, settings.identity, clock=_utc_now)
        synced, rooted = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pipeline.run(started=synced.set), name="pipeline")
            tasks.create_task(roots.run(started=rooted.set), name="root")
            await synced.wait()
            await rooted.wait()
            self._discovery.ready.set()
            bound = await server.start(settings.listen)
            lead = functools.partial(_lead, statuses, bundles)
            tasks.create_task(election.run(lead), name="election")
            started(Listening(discovery=tuple(bound), monitor=monitor))
            try:
                await asyncio.Event().wait()  # until cancelled
            finally:
                self._discovery.close()
                await server.stop()
                await _give_back(election)

    def _certificate_service(
        self, pipeline: Pipeline, roots: RootKeeper, mesh: Mesh
    ) -> CertificateService:
        placement = Placement(pipeline.reflectors[Pod])
        pipeline.before_compile.append(placement.changed)
        authorizer = NodeAuthorizer(
            trust_domain=mesh.trust_domain,
            trusted_accounts=self._settings.trusted_accounts,
            pod=placement.pod,
            pods_on=placement.pods_on,
        )
        return CertificateService(
            roots,
            authorizer,
            identify=self._tokens.identify,
            lifetimes=self._settings.lifetimes,
            clock=_utc_now,
        )

    async def _start_monitor(self) -> asyncio.Server:
        pages: dict[str, Page] = {
            "/metrics": lambda: Answer(body=self._metrics.render(), content_type=CONTENT_TYPE),
            "/ready": self._readiness,
            "/healthz": lambda: Answer(body=b"ok\n", content_type="text/plain"),
            **debug.pages(self._discovery, self._compiler),
        }
        namespace = self._settings.namespace
        monitor = Monitor(pages, identify=self._tokens.identify, namespace=namespace)
        return await monitor.start(self._settings.monitor)

    def _readiness(self) -> Answer:
        if self._discovery.ready.is_set():
            return Answer(body=b"ready\n", content_type="text/plain")
        return Answer(
            body=b"the API server has not been read whole yet\n",
            content_type="text/plain",
            status=HTTPStatus.SERVICE_UNAVAILABLE,
        )

    def _compiler(self) -> MeshCompiler | None:
        return self._pipeline.compiler if self._pipeline is not None else None

    async def _read_mesh(self, config: Reflector[ConfigMap]) -> Mesh:
        """Read the mesh config, waiting until it can be read."""
        async for _ in config.changes():
            with suppress(_UnreadableMeshError):
                return await self._mesh(config)
        raise AssertionError("changes do not end")

    async def _watch_mesh(self, config: Reflector[ConfigMap], mesh: Mesh) -> None:
        async for _ in config.changes():
            with suppress(_UnreadableMeshError):
                if await self._mesh(config) != mesh:
                    raise MeshChangedError

    async def _mesh(self, config: Reflector[ConfigMap]) -> Mesh:
        namespace = self._settings.namespace
        try:
            return read_mesh(
                config.get(namespace, CONFIG_MAP),
                await self._cluster.find(Namespace, namespace),
                namespace=namespace,
                cluster=self._settings.cluster,
            )
        except (ValueError, MeshError) as error:
            _log.error("mesh config not read", error=words(error))  # the text says all
            raise _UnreadableMeshError from error


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Find the error that a person can act on, or give the group as it is."""
    found: BaseException | None = group.subgroup((MeshError, MeshChangedError))
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or group


class _UnreadableMeshError(Exception):
    """The mesh config cannot be read now."""


async def _lead(statuses: StatusWriter, bundles: BundleDistributor) -> None:
    """Do what only one replica may do."""
    async with asyncio.TaskGroup() as duties:
        duties.create_task(statuses.run(), name="statuses")
        duties.create_task(bundles.run(started=lambda: None), name="trust bundles")


async def _give_back(election: Election) -> None:
    with suppress(MeshError, TimeoutError):
        async with asyncio.timeout(_GIVE_BACK_SECONDS):
            await election.give_back()


def _utc_now() -> datetime:
    return datetime.now(UTC)
