"""Names that telemetry gives a pod."""

import pytest

from ambimesh.compile.controllers import workload_name
from ambimesh.kube.objects import Metadata, OwnerReference, Pod


def pod(kind: str, owner: str, labels: dict[str, str] | None = None, generate: str = "x-") -> Pod:
    """Make a pod that a controller owns."""
    reference = OwnerReference(kind=kind, name=owner, controller=True)
    return Pod(
        metadata=Metadata(
            name="pod",
            generate_name=generate,
            labels=labels or {},
            owner_references=(reference,),
        )
    )


@pytest.mark.parametrize(
    ("found", "name"),
    [
        (pod("ReplicaSet", "web-7d9", {"pod-template-hash": "7d9"}), "web"),
        (pod("ReplicaSet", "web-7d9", {"rollouts-pod-template-hash": "7d9"}), "web"),
        (pod("ReplicaSet", "web-7d9"), "web-7d9"),
        (pod("ReplicationController", "web-1", {"deploymentconfig": "web"}), "web"),
        (pod("ReplicationController", "web-1"), "web-1"),
        (pod("Job", "backup-28412345"), "backup"),
        (pod("Job", "backup-1"), "backup-1"),
        (pod("StatefulSet", "db"), "db"),
        (pod("StatefulSet", "db", generate=""), "pod"),
        (pod("StatefulSet", "db", {"service.istio.io/workload-name": "mine"}), "mine"),
        (Pod(metadata=Metadata(name="pod", generate_name="x-")), "pod"),
    ],
)
def test_workload_is_named_after_what_made_it(found: Pod, name: str) -> None:
    """The deployment, the cron job, the controller, or the pod itself."""
    assert workload_name(found) == name
