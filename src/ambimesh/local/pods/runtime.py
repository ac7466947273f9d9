"""Runs the pods that the API has placed on this node.

Level-triggered: what should run is compared with what does. A pod's processes are children of
the node's init, so this program can end and start again without any of them noticing.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address

import structlog

from ambimesh.kube.core import Pod
from ambimesh.kube.reflector import Reflector
from ambimesh.local import addresses
from ambimesh.local.home import Home
from ambimesh.local.init.protocol import ProcessState
from ambimesh.local.pods.plan import PODS_OWNER, PodPlace
from ambimesh.local.pods.pod_worker import NodeParts, PodWorker

log = structlog.get_logger("pods")

MIRROR_ANNOTATION = "kubernetes.io/config.mirror"
_OVER = frozenset({"Succeeded", "Failed"})


class PodRuntime:
    """The workers of a node's pods, by uid."""

    def __init__(
        self, parts: NodeParts, pods: Reflector[Pod], home: Home, *, rootless_uid: int | None
    ) -> None:
        self._parts = parts
        self._pods = pods
        self._home = home
        self._rootless_uid = rootless_uid
        self._workers: dict[str, PodWorker] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._ending: set[str] = set()
        self._last_host = addresses.LAST_POD

    def worker(self, uid: str) -> PodWorker | None:
        """Find the worker of a pod."""
        return self._workers.get(uid)

    async def run(self, *, started: Callable[[], None]) -> None:
        """Follow the pods of this node until cancelled; programs keep running then."""
        await self._pods.wait_synced()
        running: dict[str, ProcessState] = {
            process.key: process for process in await self._parts.init.processes(PODS_OWNER)
        }
        await self._remove_orphans()
        async with asyncio.TaskGroup() as tasks:
            self._reconcile(tasks, running)
            started()
            async for _ in self._pods.changes():
                self._reconcile(tasks, {})

    async def _remove_orphans(self) -> None:
        """Take away sandboxes of pods that were deleted while nobody looked."""
        wanted = {pod.metadata.uid for pod in self._pods.snapshot().values()}
        for key in await self._parts.init.sandboxes():
            if key not in wanted:
                log.info("sandbox without a pod removed", uid=key)
                await self._parts.init.delete_sandbox(key)

    def _reconcile(self, tasks: asyncio.TaskGroup, running: dict[str, ProcessState]) -> None:
        pods = {pod.metadata.uid: pod for pod in self._pods.snapshot().values()}
        for uid, pod in pods.items():
            if MIRROR_ANNOTATION in pod.metadata.annotations or uid in self._ending:
                continue
            if pod.metadata.deletion_timestamp is not None:
                self._end(tasks, self._workers.get(uid) or self._add(pod), pod)
            elif uid not in self._workers and pod.status.phase not in _OVER:
                try:
                    worker = self._add(pod)
                except addresses.PodAddressesExhaustedError as error:  # until another pod ends
                    log.error("pod not started", pod=pod.label, reason=str(error))
                    continue
                self._runs[uid] = tasks.create_task(worker.run(running), name=pod.label)
        for uid in self._workers.keys() - pods.keys() - self._ending:
            worker = self._workers[uid]
            self._end(tasks, worker, worker.pod)

    def _add(self, pod: Pod) -> PodWorker:
        host = _host_number(pod) or addresses.free_pod(self._taken(), after=self._last_host)
        self._last_host = host
        place = PodPlace(
            folder=self._home.pod_folder(pod.metadata.namespace, pod.metadata.name),
            own=addresses.pod(self._parts.number, host),
            nameserver=addresses.gateway(self._parts.number),
            rootless_uid=self._rootless_uid,
        )
        worker = PodWorker(self._parts, pod, place, host=host)
        self._workers[pod.metadata.uid] = worker
        return worker

    def _taken(self) -> set[int]:
        """Give the numbers in use, also by pods of an earlier agent that have no worker yet."""
        written = (
            _host_number(pod)
            for pod in self._pods.snapshot().values()
            if MIRROR_ANNOTATION not in pod.metadata.annotations
        )
        return {worker.host for worker in self._workers.values()} | {n for n in written if n}

    def _end(self, tasks: asyncio.TaskGroup, worker: PodWorker, pod: Pod) -> None:
        worker.pod = pod  # says how much grace there is
        self._ending.add(pod.metadata.uid)
        tasks.create_task(self._finish(worker), name=f"end of {pod.label}")

    async def _finish(self, worker: PodWorker) -> None:
        uid = worker.pod.metadata.uid
        if run := self._runs.pop(uid, None):
            run.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.wait([run])
        await worker.end()
        self._workers.pop(uid, None)
        self._ending.discard(uid)


def _host_number(pod: Pod) -> int | None:
    """Read the number of a pod that has an address already, from before this agent."""
    if not pod.status.pod_ip:
        return None
    return int(ip_address(pod.status.pod_ip)) & 0xFF
