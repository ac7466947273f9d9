"""What a pod's containers do, as the status that the API shows; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ambimesh.local import addresses

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a process ended."""

    exit_code: int
    signal: int | None
    started_at: float  # seconds since the epoch
    finished_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerView:
    """One container at one moment. Running, waiting (with a reason) or ended for good."""

    name: str
    image: str = ""
    running_since: float | None = None
    waiting: str = "ContainerCreating"
    message: str = ""
    ending: Ending | None = None  # of the last run
    is_over: bool = False
    is_ready: bool = False
    has_started: bool = False
    restarts: int = 0

    def with_changes(self, **changes: Any) -> "ContainerView":
        """Give a copy with some fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod at one moment."""

    containers: Sequence[ContainerView]
    init_containers: Sequence[ContainerView] = ()
    own: addresses.Addresses | None = None
    host: addresses.Addresses | None = None
    started_at: float = 0.0
    failure: str = ""  # why it cannot run at all
    reason: str = ""


def phase(view: PodView) -> str:
    """Give the phase: Pending, Running, Succeeded or Failed."""
    if view.failure:
        return "Failed" if not view.reason else "Pending"
    if any(c.is_over and c.ending and c.ending.exit_code for c in view.init_containers):
        return "Failed"
    if view.containers and all(c.is_over for c in view.containers):
        codes = [c.ending.exit_code for c in view.containers if c.ending]
        return "Failed" if any(codes) else "Succeeded"
    if any(c.running_since is not None or c.ending for c in view.containers):
        return "Running"
    return "Pending"


def status(view: PodView, *, previous: Mapping[str, str], now: float) -> Json:
    """Give the status document.

    Args:
        view: The pod.
        previous: By condition type, "status time" of what was written before: a condition that
            has not changed keeps its time.
        now: Seconds since the epoch.
    """
    ready = bool(view.containers) and all(c.is_ready for c in view.containers)
    initialized = all(c.is_over for c in view.init_containers)
    document: Json = {
        "phase": phase(view),
        "message": view.failure or None,
        "reason": view.reason or None,
        "conditions": [
            _condition(kind, previous.get(kind, ""), holds=holds, now=now)
            for kind, holds in (
                ("PodScheduled", True),
                ("Initialized", initialized and not view.failure),
                ("ContainersReady", ready),
                ("Ready", ready),
            )
        ],
        "containerStatuses": [_container(c) for c in view.containers],
    }
    if view.init_containers:
        document["initContainerStatuses"] = [_container(c) for c in view.init_containers]
    if view.own:
        document["podIP"] = str(view.own.v4)
        document["podIPs"] = [{"ip": str(address)} for address in view.own.both]
    if view.host:
        document["hostIP"] = str(view.host.v4)
    if view.started_at:
        document["startTime"] = timestamp(view.started_at)
    return document


def timestamp(seconds: float) -> str:
    """Write seconds since the epoch as the API does: RFC 3339, UTC, whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _condition(kind: str, previous: str, *, holds: bool, now: float) -> Json:
    value = "True" if holds else "False"
    before, _, since = previous.partition(" ")
    return {
        "type": kind,
        "status": value,
        "lastTransitionTime": since if before == value and since else timestamp(now),
    }


def _container(view: ContainerView) -> Json:
    document: Json = {
        "name": view.name,
        "image": view.image,
        "imageID": "",
        "ready": view.is_ready,
        "started": view.has_started,
        "restartCount": view.restarts,
        "state": _state(view),
        "lastState": {},
    }
    if view.ending and not view.is_over:
        document["lastState"] = {"terminated": _terminated(view.ending)}
    return document


def _state(view: ContainerView) -> Json:
    if view.running_since is not None:
        return {"running": {"startedAt": timestamp(view.running_since)}}
    if view.is_over and view.ending:
        return {"terminated": _terminated(view.ending)}
    return {"waiting": {"reason": view.waiting, "message": view.message or None}}


def _terminated(ending: Ending) -> Json:
    return {
        "exitCode": ending.exit_code,
        "signal": ending.signal,
        "reason": "Completed" if ending.exit_code == 0 else "Error",
        "startedAt": timestamp(ending.started_at),
        "finishedAt": timestamp(ending.finished_at),
    }
