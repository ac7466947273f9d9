"""The pod object that stands for a node's proxy: whom its token and its CA requests speak for."""

from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import Container, Pod, PodSpec
from ambimesh.kube.errors import ObjectExistsError
from ambimesh.kube.meta import Metadata
from ambimesh.local import addresses
from ambimesh.local.pods.runtime import MIRROR_ANNOTATION
from ambimesh.node.eligibility import MODE_LABEL


class MirrorPod:
    """``istio-system/ztunnel-<node>``, as a static pod of Kubernetes is mirrored in its API."""

    namespace = "istio-system"
    service_account = "ztunnel"

    def __init__(self, cluster: Cluster, *, node: str, number: int) -> None:
        self._cluster = cluster
        self._node = node
        self._number = number
        self.name = f"ztunnel-{node}"

    async def ensure(self) -> str:
        """Make the object unless it is there; return its uid. Errors: those of the API."""
        pod = Pod(
            metadata=Metadata(
                name=self.name,
                namespace=self.namespace,
                labels={"app": "ztunnel", MODE_LABEL: "none"},
                annotations={MIRROR_ANNOTATION: self._node},
            ),
            spec=PodSpec(
                node_name=self._node,
                service_account_name=self.service_account,
                host_network=True,
                containers=(Container(name="node-proxy", command=("ambi", "node-proxy")),),
            ),
        )
        try:
            made = await self._cluster.create(pod)
        except ObjectExistsError:
            made = await self._cluster.get(Pod, self.name, self.namespace)
        await self._cluster.patch(
            Pod, self.name, self.namespace, self._status(), subresource="status"
        )
        return made.metadata.uid

    def _status(self) -> dict[str, object]:
        own = addresses.node(self._number)
        ready = {"type": "Ready", "status": "True", "reason": "", "message": ""}
        return {
            "status": {
                "phase": "Running",
                "hostIP": str(own.v4),
                "podIP": str(own.v4),
                "podIPs": [{"ip": str(address)} for address in own.both],
                "conditions": [ready],
                "containerStatuses": [
                    {
                        "name": "node-proxy", "image": "", "imageID": "", "ready": True,
                        "restartCount": 0, "state": {"running": {}}, "lastState": {},
                    }
                ],
            }
        }  # fmt: skip
