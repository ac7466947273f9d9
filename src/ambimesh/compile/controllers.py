"""Names that telemetry gives a pod: its controller, application and revision.

Source: spec/control-plane.md §3.7.
"""

import re
from collections.abc import Mapping
from typing import Final

from ambimesh.kube.core import Pod
from ambimesh.kube.meta import OwnerReference

_CRON_JOB: Final = re.compile(r"(?P<stem>.+)-\d{8,10}")  # a job that a CronJob made at a time
_NAME_LABELS: Final = ("service.istio.io/canonical-name", "app.kubernetes.io/name", "app")
_REVISION_LABELS: Final = (
    "service.istio.io/canonical-revision",
    "app.kubernetes.io/version",
    "version",
)
_HASH_LABELS: Final = ("pod-template-hash", "rollouts-pod-template-hash")


def workload_name(pod: Pod) -> str:
    """Name what a pod is one of: its deployment, its cron job, or itself."""
    meta = pod.metadata
    declared = meta.labels.get("service.istio.io/workload-name")
    if declared:
        return declared
    owner = next((o for o in meta.owner_references if o.controller), None)
    if owner is None or not meta.generate_name:
        return meta.name
    return _controller_name(owner, meta.labels)


def canonical_name(labels: Mapping[str, str], fallback: str) -> str:
    """Name the application; without labels, by the workload."""
    return _first(labels, _NAME_LABELS) or fallback


def canonical_revision(labels: Mapping[str, str]) -> str:
    """Name the revision of the application."""
    return _first(labels, _REVISION_LABELS) or "latest"


def _controller_name(owner: OwnerReference, labels: Mapping[str, str]) -> str:
    match owner.kind:
        case "ReplicaSet":
            return _without_hash(owner.name, labels)
        case "ReplicationController":
            return labels.get("deploymentconfig") or owner.name
        case "Job":
            cron_job = _CRON_JOB.fullmatch(owner.name)
            return cron_job["stem"] if cron_job else owner.name
        case _:
            return owner.name


def _without_hash(name: str, labels: Mapping[str, str]) -> str:
    for label in _HASH_LABELS:
        suffix = f"-{labels[label]}" if labels.get(label) else ""
        if suffix and name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)
