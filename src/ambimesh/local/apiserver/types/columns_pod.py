"""Columns of pods: what one word can say about the state of several containers.

Source: k8s.io/kubernetes/pkg/printers/internalversion, printPod.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ambimesh.local.apiserver.types.columns import AGE, NAME, NONE, Column, column, condition, wide
from ambimesh.local.apiserver.types.duration import human_duration, parse
from ambimesh.local.apiserver.types.reading import items, member, members, objects, text

JsonObject = dict[str, Any]

_FINISHED = ("Succeeded", "Failed")


def _status(pod: JsonObject) -> str:
    phase = text(pod, "status", "phase", default="Unknown")
    word = text(pod, "status", "reason", default=phase)
    initializing = _initializing(pod)
    if initializing:
        word = initializing
    else:
        word = _containers_word(pod) or word
        if word == "Completed" and _is_any_running(pod):
            word = "Running" if condition(pod, "Ready") == "True" else "NotReady"
    if member(pod, "metadata", "deletionTimestamp") and phase not in _FINISHED:
        return "Terminating"
    return word


def _initializing(pod: JsonObject) -> str:
    """Say which init container is not done, if one is not."""
    specs = objects(pod, "spec", "initContainers")
    sidecars = {text(spec, "name") for spec in specs if spec.get("restartPolicy") == "Always"}
    for index, container in enumerate(objects(pod, "status", "initContainerStatuses")):
        state = members(container, "state")
        if "terminated" in state and member(state, "terminated", "exitCode") in (0, None):
            continue
        if text(container, "name") in sidecars and container.get("started") is True:
            continue
        reason = _ended(state) if "terminated" in state else text(state, "waiting", "reason")
        if reason and reason != "PodInitializing":
            return f"Init:{reason}"
        return f"Init:{index}/{len(specs)}"
    return ""


def _containers_word(pod: JsonObject) -> str:
    word = ""
    for container in reversed(objects(pod, "status", "containerStatuses")):
        state = members(container, "state")
        if reason := text(state, "waiting", "reason"):
            word = reason
        elif "terminated" in state:
            word = _ended(state)
    return word


def _ended(state: JsonObject) -> str:
    ended = members(state, "terminated")
    if reason := text(ended, "reason"):
        return reason
    signal = ended.get("signal")
    return f"Signal:{signal}" if signal else f"ExitCode:{ended.get('exitCode', 0)}"


def _is_any_running(pod: JsonObject) -> bool:
    return any(
        container.get("ready") is True and "running" in members(container, "state")
        for container in objects(pod, "status", "containerStatuses")
    )


def _ready(pod: JsonObject) -> str:
    statuses = objects(pod, "status", "containerStatuses")
    ready = sum(container.get("ready") is True for container in statuses)
    return f"{ready}/{len(objects(pod, 'spec', 'containers'))}"


def _restarts(pod: JsonObject, now: datetime) -> str:
    statuses = objects(pod, "status", "containerStatuses")
    counts = [c.get("restartCount") for c in statuses]
    count = sum(number for number in counts if isinstance(number, int))
    ends = [parse(member(c, "lastState", "terminated", "finishedAt")) for c in statuses]
    last = max((end for end in ends if end is not None), default=None)
    if not count or last is None:
        return str(count)
    return f"{count} ({human_duration((now - last).total_seconds())} ago)"


def _address(pod: JsonObject) -> str:
    addresses = objects(pod, "status", "podIPs")
    first = text(addresses[0], "ip") if addresses else text(pod, "status", "podIP")
    return first or NONE


def _readiness_gates(pod: JsonObject) -> str:
    gates = items(pod, "spec", "readinessGates")
    if not gates:
        return NONE
    met = sum(condition(pod, text(gate, "conditionType")) == "True" for gate in gates)
    return f"{met}/{len(gates)}"


POD: Mapping[str, tuple[Column, ...]] = {
    "Pod": (
        NAME,
        column("Ready", _ready),
        column("Status", _status),
        Column(name="Restarts", cell=_restarts),
        AGE,
        wide("IP", _address),
        wide("Node", lambda o: text(o, "spec", "nodeName", default=NONE)),
        wide("Nominated Node", lambda o: text(o, "status", "nominatedNodeName", default=NONE)),
        wide("Readiness Gates", _readiness_gates),
    )
}
