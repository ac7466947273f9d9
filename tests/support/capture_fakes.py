"""Fakes of what captures stand on: sandboxes, rules of a pod, and the node proxy."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from ambimesh.node.capture import Captures
from ambimesh.node.listeners import ListenerKind
from ambimesh.node.redirection import Rules
from ambimesh.node.zds import Enrolled, NotEnrolledError


@dataclass
class World:
    """A node's pods by uid, everything done to them in order, and faults a test asks for."""

    sandboxes: set[str] = field(default_factory=set)
    kept: dict[str, dict[str, int]] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)  # what was done, in order
    rules: dict[str, str] = field(default_factory=dict)  # "capture" or "drain", by uid
    carried: dict[str, int] = field(default_factory=dict)
    has_proxy: bool = True
    broken: dict[str, Exception] = field(default_factory=dict)  # by what is to fail

    def __post_init__(self) -> None:
        self._uids: dict[int, str] = {}  # by descriptor of the namespace
        self._captures: list[Captures] = []

    def captures(self) -> Captures:
        """Make captures over these fakes, as a new agent does."""
        made = Captures(
            FakeSandboxes(self),
            FakeEnrolment(self),
            redirect=lambda namespace: FakeRules(self, self._uids[namespace], namespace),
            listen=self._listen,
        )
        self._captures.append(made)
        return made

    def do(self, what: str, uid: str) -> None:
        """Note something done; fails if a test said so."""
        if error := self.broken.get(what):
            raise error
        self.log.append(f"{what} {uid}")

    def open(self, uid: str) -> int:
        """Open a descriptor that stands for a namespace."""
        descriptor = os.open(os.devnull, os.O_RDONLY)
        self._uids[descriptor] = uid
        return descriptor

    def close(self) -> None:
        """Close what captures hold and what is kept."""
        for captures in self._captures:
            captures.close()
        for descriptors in self.kept.values():
            for descriptor in descriptors.values():
                os.close(descriptor)
        self.kept = {}

    def _listen(self, namespace: int) -> dict[ListenerKind, socket.socket]:
        self.do("listen", self._uids[namespace])
        return {kind: socket.socket() for kind in ListenerKind}


@dataclass
class FakeSandboxes:
    """``capture.PodSandboxes`` over a world."""

    world: World

    async def open(self, uid: str) -> int | None:
        """Open a pod's namespace."""
        return self.world.open(uid) if uid in self.world.sandboxes else None

    async def keep(self, uid: str, descriptors: Mapping[str, int]) -> None:
        """Keep copies."""
        self.world.do("keep", uid)
        self.world.kept[uid] = {name: os.dup(fd) for name, fd in descriptors.items()}

    async def fetch(self, uid: str) -> Mapping[str, int]:
        """Give copies."""
        return {name: os.dup(fd) for name, fd in self.world.kept.get(uid, {}).items()}

    async def drop(self, uid: str) -> None:
        """Close what is kept."""
        self.world.do("drop", uid)
        for descriptor in self.world.kept.pop(uid, {}).values():
            os.close(descriptor)


@dataclass
class FakeRules:
    """``capture.TrafficRules`` over a world."""

    world: World
    uid: str
    namespace: int

    def prepare(self) -> None:
        """Prepare."""
        self.world.do("prepare", self.uid)

    def capture(self) -> Rules:
        """Capture."""
        return self._load("capture")

    def drain(self) -> Rules:
        """Drain."""
        return self._load("drain")

    def holds(self, expected: Rules) -> bool:
        """Compare."""
        return (self.world.rules.get(self.uid),) == expected

    def carried_connections(self) -> int:
        """Count."""
        return self.world.carried.get(self.uid, 0)

    def remove(self) -> None:
        """Remove."""
        self.world.do("remove", self.uid)
        self.world.rules.pop(self.uid, None)

    def _load(self, what: str) -> Rules:
        self.world.do(what, self.uid)
        self.world.rules[self.uid] = what
        return (what,)


@dataclass
class FakeEnrolment:
    """``capture.ProxyEnrolment`` over a world."""

    world: World

    async def add(self, pod: Enrolled) -> None:
        """Enrol, if there is a proxy."""
        if not self.world.has_proxy:
            raise NotEnrolledError("no node proxy is connected")
        self.world.do("enrol", pod.uid)

    async def remove(self, uid: str) -> None:
        """Take off."""
        self.world.do("unenrol", uid)
