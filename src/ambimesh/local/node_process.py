"""The process of one node: agent, pods, service addresses, names, and the door."""

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import structlog

from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import EndpointSlice, Service
from ambimesh.local import addresses
from ambimesh.local.door import DoorServer
from ambimesh.local.exit_board import ExitBoard
from ambimesh.local.home import Home
from ambimesh.local.init.client import InitClient
from ambimesh.local.mirror_pod import MirrorPod
from ambimesh.local.node_seams import InitProxies, InitSandboxes, ProxySettings
from ambimesh.local.pods.doorman import Doorman
from ambimesh.local.pods.plan import PODS_OWNER
from ambimesh.local.pods.pod_worker import NodeParts
from ambimesh.local.pods.runtime import PodRuntime
from ambimesh.local.services.dns import DnsServer
from ambimesh.local.services.service_addresses import ServiceAddresses
from ambimesh.node.agent import NodeAgent
from ambimesh.node.capture import Captures
from ambimesh.node.credentials import ProxyCredentials
from ambimesh.node.generations import Generations
from ambimesh.node.nftables import require_nft
from ambimesh.node.zds import ZdsServer

log = structlog.get_logger("node")

START_SECONDS = 60.0
RETRY_SECONDS = 0.2

Part = Callable[..., Coroutine[Any, Any, None]]


class NodeProcess:
    """Everything that runs on behalf of one node. ``run`` until cancelled; pods live on."""

    def __init__(self, home: Home, node: str, number: int) -> None:
        self._home = home
        self._node = node
        self._number = number
        self._tasks = asyncio.TaskGroup()
        self._proxies_heard: asyncio.Queue[int] = asyncio.Queue()
        self._held = ExitStack()  # descriptors that parts share
        self._generations: Generations | None = None

    async def run(self, *, started: Callable[[], None]) -> None:
        """Start every part in order and call ``started`` when pods can be run.

        Errors: the first part to fail ends the others and is raised in an ``ExceptionGroup``.
        """
        require_nft()
        init = await InitClient.connect(self._home.init_socket(self._node))
        cluster = await Cluster.connect(self._home.credential(self._node))
        try:
            async with self._tasks:
                await self._start_parts(init, cluster)
                started()
        finally:
            self._held.close()
            init.close()
            await cluster.close()

    def replace_proxy(self) -> None:
        """Start a new generation of the node proxy beside the one that accepts.

        The old one ends when its last connection has; no connection is refused in between.
        """
        if self._generations is not None:
            self._generations.replace()

    async def _start_parts(self, init: InitClient, cluster: Cluster) -> None:
        network = await init.open_network()
        self._held.callback(os.close, network)
        exits = ExitBoard(init, PODS_OWNER)
        self._tasks.create_task(exits.run(), name="exits of pods")
        services, slices = cluster.reflector(Service), cluster.reflector(EndpointSlice)
        await self._start(services.run)
        await self._start(slices.run)
        await self._start(ServiceAddresses(network, services, slices).run)
        gateway = addresses.gateway(self._number).both
        await self._start(DnsServer(gateway, services, slices).run)

        sandboxes = InitSandboxes(init)
        zds = ZdsServer(self._home.zds_socket(self._node), ready=self._proxies_heard.put_nowait)
        captures = Captures(sandboxes, zds)
        self._held.callback(captures.close)
        agent = NodeAgent(cluster, captures, sandboxes, node=self._node)
        await self._start(agent.run)
        await self._start(zds.run)
        await self._start_proxies(init, cluster, zds, agent)

        parts = NodeParts(
            cluster=cluster, init=init, exits=exits, hook=agent,
            number=self._number,
        )  # fmt: skip
        runtime = PodRuntime(parts, agent.pods, self._home, rootless_uid=mesh_owner())
        await self._start(runtime.run)
        doorman = Doorman(runtime, init, exits)
        await self._start(DoorServer(self._home.door_socket(self._node), doorman.handle).run)

    async def _start_proxies(
        self, init: InitClient, cluster: Cluster, zds: ZdsServer, agent: NodeAgent
    ) -> None:
        mirror = MirrorPod(cluster, node=self._node, number=self._number)
        uid = await self._patiently(mirror.ensure)
        folder = self._home.run / f"{self._node}.proxy"
        credentials = ProxyCredentials(
            cluster, directory=folder, namespace=mirror.namespace,
            service_account=mirror.service_account, pod=(mirror.name, uid),
        )  # fmt: skip
        # The control plane writes the root certificate when it is up; pods need not wait for it.
        proxies = InitProxies(init, self._settings(mirror, credentials))
        generations = Generations(proxies, retire=zds.retire, clock=time.monotonic)
        self._generations = generations

        async def proxies_when_ready() -> None:
            fresh = asyncio.Event()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(credentials.run(started=fresh.set), name="credentials")
                await fresh.wait()
                tasks.create_task(generations.run(started=lambda: None), name="generations")
                while True:
                    pid = await self._proxies_heard.get()
                    agent.proxy_changed()
                    await generations.accepting(pid)

        self._tasks.create_task(proxies_when_ready(), name="node proxies")

    def _settings(self, mirror: MirrorPod, credentials: ProxyCredentials) -> ProxySettings:
        return ProxySettings(
            node=self._node,
            number=self._number,
            zds_socket=self._home.zds_socket(self._node),
            token_file=credentials.token_file,
            root_file=credentials.root_file,
            pod=mirror.name,
            namespace=mirror.namespace,
            service_account=mirror.service_account,
            log_file=self._home.log_file(f"{self._node}-proxy"),
        )

    async def _start(self, run: Part) -> None:
        """Start one part and wait until it says that it has started."""
        started = asyncio.Event()
        task = self._tasks.create_task(run(started=started.set), name=run.__qualname__)
        async with asyncio.timeout(START_SECONDS):
            waiting = self._tasks.create_task(started.wait())
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()
        if task.done():
            task.result()

    async def _patiently(self, ask: Callable[[], Coroutine[Any, Any, str]]) -> str:
        """Ask the API until it answers; it may still be starting."""
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    return await ask()
                except MeshError as error:
                    log.info("the API is not ready", reason=str(error).splitlines()[0])
                    await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError


def mesh_owner() -> int | None:
    """Give the user that owns a mesh without root, as the host counts; ``None`` with root."""
    first = Path("/proc/self/uid_map").read_text(encoding="ascii").splitlines()[0]
    _, outside, count = map(int, first.split())
    return outside if count == 1 else None
