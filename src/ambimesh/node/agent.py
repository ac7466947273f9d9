"""The node agent: makes the captured pods of its node those that the labels say.

Level-triggered: each pass reads the pods and namespaces as they are and moves every pod one step
towards what it should be. What cannot be done now is tried again with the next pass.

Source: control-plane specification §10.3; design D7, D10.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import structlog

from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import Namespace, Pod
from ambimesh.kube.errors import ObjectNotFoundError
from ambimesh.kube.reflector import Reflector
from ambimesh.node.capture import CaptureError, Captures, CaptureState, PodIdentity, PodSandboxes
from ambimesh.node.eligibility import (
    REDIRECTION_ANNOTATION,
    PodFacts,
    Redirection,
    ineligible,
)

log = structlog.get_logger("agent")

VERIFY_SECONDS = 15.0
DRAIN_CHECK_SECONDS = 1.0
RETRY_SECONDS = 1.0
FIELD_MANAGER = "ambimesh-node-agent"

_ENDED = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How often the agent looks again, in seconds."""

    verify_seconds: float = VERIFY_SECONDS
    drain_check_seconds: float = DRAIN_CHECK_SECONDS
    retry_seconds: float = RETRY_SECONDS


class NodeAgent:
    """Captures and releases the pods of one node."""

    def __init__(
        self,
        cluster: Cluster,
        captures: Captures,
        sandboxes: PodSandboxes,
        *,
        node: str,
        pacing: Pacing | None = None,
    ) -> None:
        self._cluster = cluster
        self._captures = captures
        self._sandboxes = sandboxes
        self._pacing = pacing or Pacing()
        self._pods = cluster.reflector(Pod, fields=f"spec.nodeName={node}")
        self._namespaces = cluster.reflector(Namespace)
        self._again = asyncio.Event()
        self._pods_changing = asyncio.Lock()

    @property
    def pods(self) -> Reflector[Pod]:
        """The live copy of this node's pods, for others in this process."""
        return self._pods

    @property
    def namespaces(self) -> Reflector[Namespace]:
        """The live copy of all namespaces."""
        return self._namespaces

    async def run(self, *, started: Callable[[], None]) -> None:
        """Follow pods and namespaces until cancelled; ``started`` after taking over.

        What an earlier agent had captured is captured again before anything else is done.
        """
        async with asyncio.TaskGroup() as tasks:
            ready: list[asyncio.Event] = []
            for reflector in (self._pods, self._namespaces):
                ready.append(asyncio.Event())
                tasks.create_task(reflector.run(started=ready[-1].set), name="reflector")
            await asyncio.gather(self._pods.wait_synced(), self._namespaces.wait_synced())
            await self._take_over()
            started()
            for reflector in (self._pods, self._namespaces):
                tasks.create_task(self._follow(reflector), name="changes")
            tasks.create_task(self._reconcile_forever(), name="reconcile")
            tasks.create_task(self._verify_forever(), name="verify rules")
            tasks.create_task(self._drain_forever(), name="finish releases")

    def proxy_changed(self) -> None:
        """Hear that a proxy has connected: pending pods are tried again at once."""
        self._again.set()

    async def prepare(self, pod: Pod) -> None:
        """Capture a new pod before its first process starts, if it is to be captured.

        Raises:
            CaptureError: it is to be captured and cannot be, or its namespace, whose label may
                want it, is not known yet; it must not start like this.
        """
        if self._namespaces.get("", pod.metadata.namespace) is None:
            raise CaptureError(f"pod {'/'.join(pod.key)}: its namespace is not known yet")
        if self._wanted(pod):
            async with self._pods_changing:
                await self._captures.capture(_identity(pod))

    async def ended(self, uid: str) -> None:
        """Give up a pod whose sandbox is going."""
        async with self._pods_changing:
            await self._captures.forget(uid)

    def _wanted(self, pod: Pod) -> bool:
        namespace = self._namespaces.get("", pod.metadata.namespace)
        facts = PodFacts(
            namespace=pod.metadata.namespace,
            labels=pod.metadata.labels,
            annotations=pod.metadata.annotations,
            namespace_labels=namespace.metadata.labels if namespace else {},
            host_network=pod.spec.host_network,
        )
        return ineligible(facts) is None

    async def _take_over(self) -> None:
        for pod in self._pods.snapshot().values():
            kept = await self._sandboxes.fetch(pod.metadata.uid)
            _close(kept)
            if kept:
                try:
                    await self._take(pod)
                except CaptureError as error:  # its rules stand as they did; tried again soon
                    log.warning("pod not taken over", pod="/".join(pod.key), reason=str(error))

    async def _take(self, pod: Pod) -> None:
        """Put a pod where an earlier agent had it.

        A pending one too is enrolled, though no proxy is connected yet: one that has it already
        would stop it, connections and all, if the snapshot did not name it.
        """
        if self._is_pending(pod):
            await self._captures.capture(_identity(pod))
        else:
            await self._captures.adopt(_identity(pod), captured=self._wanted(pod))

    def _is_pending(self, pod: Pod) -> bool:
        """Whether no proxy had taken a pod: until one does, its traffic is not redirected."""
        written = pod.metadata.annotations.get(REDIRECTION_ANNOTATION)
        return self._wanted(pod) and written != Redirection.ENABLED

    async def _follow(self, reflector: Reflector[Pod] | Reflector[Namespace]) -> None:
        async for _ in reflector.changes():
            self._again.set()

    async def _reconcile_forever(self) -> None:
        while True:
            self._again.clear()
            if not await self._reconcile():
                # Something is to be tried again: soon, or as soon as anything changes.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pacing.retry_seconds):
                        await self._again.wait()
            else:
                await self._again.wait()

    async def _reconcile(self) -> bool:
        """Move every pod one step; true if nothing is left to be tried again."""
        pods = dict(self._pods.snapshot())
        done = True
        for pod in pods.values():
            try:
                async with self._pods_changing:
                    await self._move(pod)
                await self._annotate(pod)
            except (CaptureError, MeshError) as error:
                done = False
                log.warning("pod not as it should be", pod="/".join(pod.key), reason=str(error))
                with suppress(MeshError):
                    await self._annotate(pod)
        gone = self._captures.states().keys() - {pod.metadata.uid for pod in pods.values()}
        for uid in gone:
            await self.ended(uid)
        return done

    async def _move(self, pod: Pod) -> None:
        uid = pod.metadata.uid
        if pod.status.phase in _ENDED:
            await self._captures.forget(uid)
        elif not self._wanted(pod):
            await self._captures.release(uid)
        elif self._captures.state(uid) is not CaptureState.CAPTURED and _runs(pod):
            await self._captures.capture(_identity(pod))

    async def _annotate(self, pod: Pod) -> None:
        """Write the pod's actual state where the control plane reads it, if it differs."""
        wanted = _annotation(self._captures.state(pod.metadata.uid))
        if pod.metadata.annotations.get(REDIRECTION_ANNOTATION) == wanted:
            return
        body: Mapping[str, object] = {
            "metadata": {"annotations": {REDIRECTION_ANNOTATION: wanted}, "uid": pod.metadata.uid}
        }
        with suppress(ObjectNotFoundError):
            await self._cluster.patch(
                Pod,
                pod.metadata.name,
                pod.metadata.namespace,
                body,
                subresource="status",
                manager=FIELD_MANAGER,
            )

    async def _verify_forever(self) -> None:
        while True:
            await asyncio.sleep(self._pacing.verify_seconds)
            await self._captures.verify(damaged=lambda _pod: None)

    async def _drain_forever(self) -> None:
        while True:
            await asyncio.sleep(self._pacing.drain_check_seconds)
            await self._captures.finish_draining()


def _identity(pod: Pod) -> PodIdentity:
    return PodIdentity(
        uid=pod.metadata.uid,
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        service_account=pod.spec.service_account_name or "default",
    )


def _runs(pod: Pod) -> bool:
    """A pod that has an address has a sandbox; one without is captured when it gets it."""
    return bool(pod.status.pod_ip)


def _annotation(state: CaptureState | None) -> str | None:
    match state:
        case CaptureState.CAPTURED:
            return Redirection.ENABLED
        case CaptureState.PENDING:
            return Redirection.PENDING
        case _:
            return None


def _close(descriptors: Mapping[str, int]) -> None:
    for descriptor in descriptors.values():
        os.close(descriptor)
