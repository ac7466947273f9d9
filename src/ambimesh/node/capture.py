"""The captured pods of a node: taken in while they run, released while they run.

Capture and release touch only new connections. What was open before stays direct for good; what
is carried by the proxy when a pod is released is carried to its end.

Source: design D7, D10; node-proxy specification §2.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import structlog

from ambimesh.node.listeners import PORTS, ListenerKind, make_listeners
from ambimesh.node.nftables import RulesetError
from ambimesh.node.redirection import Redirection, Rules
from ambimesh.node.zds import Enrolled, NotEnrolledError

log = structlog.get_logger("capture")


class PodSandboxes(Protocol):
    """Where the network namespaces of pods are had from, and listeners are left in trust.

    On one machine the node's init serves it; what is kept there survives the agent.
    Errors of every method: ``OSError`` with what stands in the way.
    """

    async def open(self, uid: str) -> int | None:
        """Give a descriptor of a pod's network namespace, the caller's; ``None``: not there."""

    async def keep(self, uid: str, descriptors: Mapping[str, int]) -> None:
        """Keep copies of a pod's listeners, by name."""

    async def fetch(self, uid: str) -> Mapping[str, int]:
        """Give back what was kept, as descriptors of the caller's; empty when nothing was."""

    async def drop(self, uid: str) -> None:
        """Give up what was kept."""


class ProxyEnrolment(Protocol):
    """Who tells node proxies which pods are theirs: ``zds.ZdsServer``."""

    async def add(self, pod: Enrolled) -> None:
        """Enrol a pod; back when a proxy has taken it. Errors: ``NotEnrolledError``."""

    async def remove(self, uid: str) -> None:
        """Take a pod off every proxy; its connections there end."""


class TrafficRules(Protocol):
    """What captures and releases one pod's traffic: ``redirection.Redirection``."""

    @property
    def namespace(self) -> int:
        """Descriptor of the pod's network namespace."""

    def prepare(self) -> None:
        """Set what must stand before the first packet is redirected."""

    def capture(self) -> Rules:
        """Redirect new connections; give the rules as read back."""

    def drain(self) -> Rules:
        """Redirect nothing new; give the rules as read back."""

    def holds(self, expected: Rules) -> bool:
        """Tell whether exactly these rules stand."""

    def carried_connections(self) -> int:
        """Count what the proxy still carries."""

    def remove(self) -> None:
        """Take everything out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodIdentity:
    """Whose namespace it is."""

    uid: str
    namespace: str
    name: str
    service_account: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class CaptureState(StrEnum):
    """How far a pod is. A pod that is not listed is not captured."""

    PENDING = "pending"  # no proxy has taken it yet; its traffic is not redirected
    CAPTURED = "captured"
    DRAINING = "draining"  # nothing new is redirected; the proxy carries what is left


class CaptureError(Exception):
    """A pod cannot be captured now; its text says why, and the pod is not redirected."""


@dataclass(eq=False, slots=True)
class _Capture:
    pod: PodIdentity
    redirection: TrafficRules
    listeners: dict[ListenerKind, socket.socket]
    state: CaptureState = CaptureState.PENDING
    rules: Rules = ()
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_closed: bool = False  # look after waiting for `busy`: the descriptors may be others' by now

    def close(self) -> None:
        """Give up our descriptors: never a shutdown, other holders still listen."""
        self.is_closed = True
        for listener in self.listeners.values():
            listener.close()
        os.close(self.redirection.namespace)


class Captures:
    """Every pod of this node that is captured, pending or draining."""

    def __init__(
        self,
        sandboxes: PodSandboxes,
        zds: ProxyEnrolment,
        *,
        redirect: Callable[[int], TrafficRules] = Redirection,
        listen: Callable[[int], dict[ListenerKind, socket.socket]] = make_listeners,
    ) -> None:
        self._sandboxes = sandboxes
        self._zds = zds
        self._redirect = redirect  # gives the rules of a namespace
        self._listen = listen  # makes the listeners of a namespace
        self._captures: dict[str, _Capture] = {}

    def state(self, uid: str) -> CaptureState | None:
        """Tell how far a pod is; ``None``: not captured."""
        capture = self._captures.get(uid)
        return capture.state if capture else None

    def close(self) -> None:
        """Give up every descriptor; rules stand on, and the listeners are in trust."""
        for capture in [*self._captures.values()]:
            self._drop(capture)

    def states(self) -> dict[str, tuple[PodIdentity, CaptureState]]:
        """List all pods by uid."""
        return {uid: (c.pod, c.state) for uid, c in self._captures.items()}

    async def capture(self, pod: PodIdentity) -> None:
        """Capture a pod, or again if it is being released; done when a proxy has taken it.

        Rules are loaded last: until a proxy listens, connections go their usual way.

        Raises:
            CaptureError: why not; trying again later is right.
        """
        async with self._opened(pod) as capture:
            if capture.state is CaptureState.CAPTURED:
                return
            with _reported(pod):
                await asyncio.to_thread(capture.redirection.prepare)
                await self._zds.add(_enrolled(capture))
                capture.rules = await asyncio.to_thread(capture.redirection.capture)
            capture.state = CaptureState.CAPTURED
            log.info("pod captured", pod=str(pod), uid=pod.uid)

    async def release(self, uid: str) -> None:
        """Redirect nothing new of a pod; ``finish_draining`` does the rest. Unknown: nothing.

        Raises:
            CaptureError: the rules could not be changed; the pod stays captured.
        """
        async with self._held(uid) as capture:
            if capture is None or capture.state is CaptureState.DRAINING:
                return
            # A pending pod too: an agent that died may have loaded its rules and not said so.
            with _reported(capture.pod):
                capture.rules = await asyncio.to_thread(capture.redirection.drain)
            capture.state = CaptureState.DRAINING
            log.info("pod releasing", pod=str(capture.pod), uid=uid)

    async def forget(self, uid: str) -> None:
        """Give a pod up that has ended: its namespace is going, nothing is taken out."""
        async with self._held(uid) as capture:
            if capture is not None:
                await self._zds.remove(uid)
                self._drop(capture)

    async def finish_draining(self) -> None:
        """End the release of each pod whose last carried connection has ended."""
        for uid in [*self._captures]:
            async with self._held(uid) as capture:
                if capture is None or capture.state is not CaptureState.DRAINING:
                    continue
                try:
                    if await asyncio.to_thread(capture.redirection.carried_connections) == 0:
                        await self._end(capture)
                except (OSError, RulesetError) as error:
                    log.warning("release not finished", pod=str(capture.pod), reason=str(error))

    async def verify(self, *, damaged: Callable[[PodIdentity], None]) -> None:
        """Read every pod's rules back and put them in force again where they are not.

        ``damaged`` is called for each pod whose rules somebody else has changed.
        """
        for uid in [*self._captures]:
            async with self._held(uid) as capture:
                if capture is None or capture.state is CaptureState.PENDING:
                    continue
                try:
                    await self._verify(capture, damaged)
                except (OSError, RulesetError) as error:
                    log.warning("rules not verified", pod=str(capture.pod), reason=str(error))

    async def adopt(self, pod: PodIdentity, *, captured: bool) -> None:
        """Take over a pod that an earlier agent captured or was releasing.

        Its listeners come out of trust. The rules are loaded at once, before any proxy has
        connected: connections wait in the listeners' queue and nothing goes out in plaintext.

        Raises:
            CaptureError: why not; the rules that stand in the pod still do.
        """
        async with self._opened(pod) as capture:
            redirection = capture.redirection
            load = redirection.capture if captured else redirection.drain
            with _reported(pod):
                await asyncio.to_thread(redirection.prepare)
                capture.rules = await asyncio.to_thread(load)
            capture.state = CaptureState.CAPTURED if captured else CaptureState.DRAINING
            try:
                await self._zds.add(_enrolled(capture))
            except NotEnrolledError as error:
                log.info("waiting for a node proxy", pod=str(pod), reason=str(error))

    async def _verify(self, capture: _Capture, damaged: Callable[[PodIdentity], None]) -> None:
        redirection = capture.redirection
        if await asyncio.to_thread(redirection.holds, capture.rules):
            return
        log.error("rules changed by somebody else; loading them again", pod=str(capture.pod))
        captured = capture.state is CaptureState.CAPTURED
        load = redirection.capture if captured else redirection.drain
        await asyncio.to_thread(redirection.prepare)
        capture.rules = await asyncio.to_thread(load)
        damaged(capture.pod)

    @asynccontextmanager
    async def _held(self, uid: str) -> AsyncIterator[_Capture | None]:
        """Keep others away from a pod's capture inside the block; ``None``: there is none."""
        capture = self._captures.get(uid)
        if capture is None:
            yield None
            return
        async with capture.busy:
            yield None if capture.is_closed else capture

    @asynccontextmanager
    async def _opened(self, pod: PodIdentity) -> AsyncIterator[_Capture]:
        """Hold a pod's capture, made if there is none or if it ended while we waited."""
        while True:
            if pod.uid not in self._captures:
                fresh = await self._open(pod)
                if self._captures.setdefault(pod.uid, fresh) is not fresh:
                    fresh.close()
            async with self._held(pod.uid) as capture:
                if capture is not None:
                    yield capture
                    return

    async def _open(self, pod: PodIdentity) -> _Capture:
        with _reported(pod):
            namespace = await self._sandboxes.open(pod.uid)
            if namespace is None:
                raise CaptureError(f"pod {pod}: its network namespace is not there")
            try:
                listeners = await self._listeners(pod.uid, namespace)
            except BaseException:
                os.close(namespace)
                raise
        return _Capture(pod, self._redirect(namespace), listeners)

    async def _listeners(self, uid: str, namespace: int) -> dict[ListenerKind, socket.socket]:
        """Take a pod's listeners out of trust, or make them and leave copies there."""
        kept = await self._sandboxes.fetch(uid)
        if {kind.name for kind in PORTS} == set(kept):
            return {kind: socket.socket(fileno=kept[kind.name]) for kind in PORTS}
        for descriptor in kept.values():
            os.close(descriptor)
        listeners = await asyncio.to_thread(self._listen, namespace)
        copies = {kind.name: listener.fileno() for kind, listener in listeners.items()}
        try:
            await self._sandboxes.keep(uid, copies)
        except BaseException:
            for listener in listeners.values():
                listener.close()
            raise
        return listeners

    async def _end(self, capture: _Capture) -> None:
        """Take everything out of a pod that nothing of ours is left in."""
        await self._zds.remove(capture.pod.uid)
        await asyncio.to_thread(capture.redirection.remove)
        await self._sandboxes.drop(capture.pod.uid)
        self._drop(capture)
        log.info("pod released", pod=str(capture.pod), uid=capture.pod.uid)

    def _drop(self, capture: _Capture) -> None:
        self._captures.pop(capture.pod.uid, None)
        capture.close()


@contextmanager
def _reported(pod: PodIdentity) -> Iterator[None]:
    """Name the pod in what stands in the way of its capture."""
    try:
        yield
    except (OSError, RulesetError, NotEnrolledError) as error:
        raise CaptureError(f"pod {pod}: {error}") from error


def _enrolled(capture: _Capture) -> Enrolled:
    return Enrolled(
        uid=capture.pod.uid,
        name=capture.pod.name,
        namespace=capture.pod.namespace,
        service_account=capture.pod.service_account,
        network_namespace=capture.redirection.namespace,
        listeners=capture.listeners,
    )
