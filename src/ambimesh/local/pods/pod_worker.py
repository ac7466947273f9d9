"""One pod of this node, from its sandbox to its end."""

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import structlog

from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import Container, ContainerStatus, Pod
from ambimesh.kube.errors import ObjectConflictError, ObjectNotFoundError
from ambimesh.local import addresses, podnet
from ambimesh.local.exit_board import ExitBoard
from ambimesh.local.init.client import InitClient, InitRefusedError
from ambimesh.local.init.protocol import Failure, ProcessState
from ambimesh.local.pods.container_run import ContainerPlan, ContainerRun
from ambimesh.local.pods.plan import PodPlace, container_spawn, log_file, unusable, warnings
from ambimesh.local.pods.pod_files import PodFiles
from ambimesh.local.pods.pod_status import PodView, status
from ambimesh.node.capture import CaptureError

log = structlog.get_logger("pods")

FIELD_MANAGER = "ambimesh-pods"
DEFAULT_GRACE_SECONDS = 30
RETRY_SECONDS = 1.0
SETTLE_SECONDS = 0.05  # several changes in a row are one status


class PodHook(Protocol):
    """What else happens to a pod's network: the node agent captures it."""

    async def prepare(self, pod: Pod) -> None:
        """Do what must be done before the first process starts. Errors: ``CaptureError``."""

    async def ended(self, uid: str) -> None:
        """Hear that the sandbox is going."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeParts:
    """What every pod of a node is run with."""

    cluster: Cluster
    init: InitClient
    exits: ExitBoard
    hook: PodHook
    number: int  # of the node


class PodWorker:
    """Runs one pod. ``run`` until it is over, then ``end`` when it is deleted."""

    def __init__(self, parts: NodeParts, pod: Pod, place: PodPlace, *, host: int) -> None:
        self._parts = parts
        self.pod = pod
        self.place = place
        self.host = host  # the pod's number on its node
        self._files = PodFiles(parts.cluster, pod, place)
        self._changed = asyncio.Event()
        self._sandbox = -1
        self._started_at = time.time()
        self._failure = ("", "")  # what cannot be, and the reason's word
        self._inits: list[ContainerRun] = []
        self._runs: list[ContainerRun] = []
        self._written: Mapping[str, Any] = {}

    @property
    def sandbox(self) -> int:
        """Descriptor of the pod's network namespace, this worker's; -1: there is none."""
        return self._sandbox

    def container_run(self, name: str) -> ContainerRun | None:
        """Find a container by name; the first for the empty name."""
        for run in self._runs:
            if run.view.name == name or not name:
                return run
        return None

    def container(self, name: str) -> Container | None:
        """Find a container's manifest by name; the first for the empty name."""
        for container in self.pod.spec.containers:
            if container.name == name or not name:
                return container
        return None

    async def run(self, running: Mapping[str, ProcessState]) -> None:
        """Run the pod until it is over; ``running`` are its processes of an earlier agent."""
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write_forever(), name=f"status of {self.pod.label}")
            if why := unusable(self.pod):
                self._fail(why)
            else:
                for text in warnings(self.pod):
                    log.info("manifest not honoured in full", pod=self.pod.label, warning=text)
                await self._set_up()
                await self._run_containers(tasks, running)
            self._changed.set()
            while not self._is_written():  # noqa: ASYNC110  # the writer retries at its own pace
                await asyncio.sleep(SETTLE_SECONDS)
            writing.cancel()

    async def end(self) -> None:
        """Stop the programs, take the sandbox away, and let the object go."""
        grace = self.pod.metadata.deletion_grace_period_seconds
        if grace is None:
            grace = self.pod.spec.termination_grace_period_seconds
        seconds = float(DEFAULT_GRACE_SECONDS if grace is None else grace)
        async with asyncio.TaskGroup() as tasks:
            for run in [*self._inits, *self._runs]:
                tasks.create_task(run.stop(grace_seconds=seconds))
        await self.remove_sandbox()
        await self._delete_object()

    async def remove_sandbox(self) -> None:
        """Take the pod's namespace, link and files away. Idempotent."""
        uid = self.pod.metadata.uid
        await self._parts.hook.ended(uid)
        await self._parts.init.delete_sandbox(uid)
        await self._in_node(partial(podnet.detach, uid))
        if self._sandbox >= 0:
            os.close(self._sandbox)
            self._sandbox = -1
        self._files.remove()

    # -- setting up ------------------------------------------------------------------------

    async def _set_up(self) -> None:
        """Make sandbox, network and files, and have the pod captured, as often as it takes."""
        while True:
            try:
                await self._make_sandbox()
                await asyncio.to_thread(self._files.write)
                await self._parts.hook.prepare(self.pod)
            except (OSError, InitRefusedError, CaptureError) as error:
                log.warning("pod not set up", pod=self.pod.label, reason=str(error))
                self._fail(str(error), reason="SandboxNotReady")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._failure = ("", "")
                return

    async def _make_sandbox(self) -> None:
        if self._sandbox >= 0:
            return
        uid = self.pod.metadata.uid
        try:
            sandbox = await self._parts.init.create_sandbox(uid, podnet.SANDBOX_SYSCTLS)
        except InitRefusedError as error:
            if error.failure is not Failure.EXISTS:
                raise
            self._sandbox = await self._parts.init.open_sandbox(uid)
            return  # an earlier agent made it, network and all
        network = podnet.PodNetwork(uid=uid, node=self._parts.number, host=self.host)
        try:
            await self._in_node(partial(podnet.attach, network, sandbox))
        except BaseException:  # a sandbox that is there has its network: see above
            os.close(sandbox)
            await self._parts.init.delete_sandbox(uid)
            raise
        self._sandbox = sandbox

    async def _in_node(self, work: Callable[[], None]) -> None:
        """Call blocking work in the node's network namespace, where this process lives."""
        await asyncio.to_thread(work)

    # -- containers ------------------------------------------------------------------------

    async def _run_containers(
        self, tasks: asyncio.TaskGroup, running: Mapping[str, ProcessState]
    ) -> None:
        token_written = asyncio.Event()
        keeping = tasks.create_task(
            self._files.keep_token(started=token_written.set), name="token of the pod"
        )
        self._inits = [self._container_run(c, running) for c in self.pod.spec.init_containers]
        self._runs = [self._container_run(c, running) for c in self.pod.spec.containers]
        self._changed.set()
        await token_written.wait()
        adopted = any(run.view.running_since is not None for run in self._runs)
        for run in self._inits:
            if not adopted:
                await run.run()
            else:
                run.view = run.view.with_changes(is_over=True)
            if run.view.ending and run.view.ending.exit_code:
                keeping.cancel()
                return
        async with asyncio.TaskGroup() as containers:
            for run in self._runs:
                containers.create_task(run.run(), name=f"container {run.view.name}")
        keeping.cancel()

    def _container_run(
        self, container: Container, running: Mapping[str, ProcessState]
    ) -> ContainerRun:
        is_init = container in self.pod.spec.init_containers
        policy = self.pod.spec.restart_policy
        if is_init and policy == "Always":
            policy = "OnFailure"
        plan = ContainerPlan(
            container=container,
            policy=policy,
            spawn=lambda start: container_spawn(self.pod, container, self.place, start=start),
            rotate_log=partial(self._rotate_log, container.name),
            sandbox=self._sandbox,
        )
        run = ContainerRun(self._parts.init, self._parts.exits, plan, self._changed.set)
        prefix = f"pod/{self.pod.metadata.uid}/{container.name}/"
        for key, process in running.items():
            if key.startswith(prefix) and "/probe/" not in key and process.exit is None:
                run.adopt(process, self._written_status(container.name))
        return run

    def _written_status(self, container: str) -> ContainerStatus | None:
        """Find what an earlier agent wrote about a container."""
        written = self.pod.status.container_statuses
        return next((found for found in written if found.name == container), None)

    def _rotate_log(self, container: str) -> None:
        current = log_file(self.place.folder, container)
        with suppress(OSError):
            current.replace(log_file(self.place.folder, container, previous=True))

    # -- status ----------------------------------------------------------------------------

    def _fail(self, text: str, *, reason: str = "") -> None:
        self._failure = (text, reason)
        self._changed.set()

    def _view(self) -> PodView:
        failure, reason = self._failure
        return PodView(
            containers=tuple(run.view for run in self._runs),
            init_containers=tuple(run.view for run in self._inits),
            own=self.place.own if self._sandbox >= 0 else None,
            host=addresses.node(self._parts.number),
            started_at=self._started_at,
            failure=failure,
            reason=reason,
        )

    def _document(self) -> Mapping[str, Any]:
        previous = {
            c["type"]: f"{c['status']} {c['lastTransitionTime']}"
            for c in self._written.get("conditions", ())
        }
        return status(self._view(), previous=previous, now=time.time())

    def _is_written(self) -> bool:
        return self._document() == self._written

    async def _write_forever(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(SETTLE_SECONDS)
            self._changed.clear()
            document = self._document()
            if document == self._written:
                continue
            try:
                await self._write(document)
            except ObjectNotFoundError:
                self._written = document  # the pod is gone; its runtime will end this worker
            except MeshError as error:
                log.warning("status not written", pod=self.pod.label, reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()

    async def _write(self, document: Mapping[str, Any]) -> None:
        meta = self.pod.metadata
        body = {"metadata": {"uid": meta.uid}, "status": document}
        await self._parts.cluster.patch(
            Pod, meta.name, meta.namespace, body, subresource="status", manager=FIELD_MANAGER
        )
        self._written = document

    async def _delete_object(self) -> None:
        meta = self.pod.metadata
        while True:
            try:
                await self._parts.cluster.delete(
                    Pod, meta.name, meta.namespace, uid=meta.uid, grace_seconds=0
                )
            except (ObjectNotFoundError, ObjectConflictError):
                return
            except MeshError as error:
                log.warning("pod not deleted yet", pod=self.pod.label, reason=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
