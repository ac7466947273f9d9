"""Objects that a mesh on one machine has from its start, beside those of its API server."""

import os
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from ambimesh import __version__
from ambimesh.kube.cluster import Cluster
from ambimesh.kube.core import EndpointSlice, Node, Service
from ambimesh.kube.meta import Resource
from ambimesh.local import addresses
from ambimesh.local.addresses import DEBUG_PORT, XDS_PORT
from ambimesh.local.home import Home

MANAGER = "ambimesh-supervisor"
ROOT_NAMESPACE = "istio-system"
CONTROL_PLANE_SERVICE = "istiod"
_PODS_A_NODE = addresses.LAST_POD - addresses.FIRST_POD + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """An object, as it is applied.

    A status is merged: lists in it are replaced whole. Applied on the server's side, the two
    InternalIPs of a node would be one entry twice, since their type is the key of that list.
    """

    kind: type[Resource]
    name: str
    namespace: str
    body: Mapping[str, Any]
    subresource: str = ""


def control_plane_objects() -> Sequence[Applied]:
    """Give the Service of the control plane and its endpoints, which are no pods."""
    ports = [
        {"name": "tls-xds", "port": XDS_PORT, "protocol": "TCP"},
        {"name": "http-monitoring", "port": DEBUG_PORT, "protocol": "TCP"},
    ]
    control = addresses.control()
    slices = (("IPv4", str(control.v4)), ("IPv6", str(control.v6)))
    return [
        Applied(
            kind=Service,
            name=CONTROL_PLANE_SERVICE,
            namespace=ROOT_NAMESPACE,
            body={
                "metadata": {"labels": {"app": CONTROL_PLANE_SERVICE}},
                "spec": {"ports": ports, "ipFamilyPolicy": "PreferDualStack"},
            },
        ),
        *(
            Applied(
                kind=EndpointSlice,
                name=f"{CONTROL_PLANE_SERVICE}-{family.lower()}",
                namespace=ROOT_NAMESPACE,
                body={
                    "metadata": {"labels": {"kubernetes.io/service-name": CONTROL_PLANE_SERVICE}},
                    "addressType": family,
                    "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
                    "ports": ports,
                },
            )
            for family, address in slices
        ),
    ]


def node_objects(number: int, *, ready: bool, reason: str) -> Sequence[Applied]:
    """Give a node and its status."""
    name = addresses.node_name(number)
    return [
        Applied(
            kind=Node,
            name=name,
            namespace="",
            body={
                "metadata": {
                    "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
                },
                "spec": {"podCIDRs": [str(network) for network in addresses.pods(number).both]},
            },
        ),
        node_status(number, ready=ready, reason=reason),
    ]


def node_status(number: int, *, ready: bool, reason: str) -> Applied:
    """Give the status of a node: its addresses, what fits on it, whether its agent works."""
    name = addresses.node_name(number)
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    resources = {"cpu": str(os.cpu_count() or 1), "pods": str(_PODS_A_NODE)}
    return Applied(
        kind=Node,
        name=name,
        namespace="",
        subresource="status",
        body={
            "status": {
                "addresses": [
                    *(
                        {"type": "InternalIP", "address": str(address)}
                        for address in addresses.node(number).both
                    ),
                    {"type": "Hostname", "address": name},
                ],
                "capacity": resources,
                "allocatable": resources,
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True" if ready else "False",
                        "reason": reason,
                        "message": "",
                        "lastHeartbeatTime": now,
                        "lastTransitionTime": now,
                    }
                ],
                "nodeInfo": _node_info(),
            }
        },
    )


def initial_objects(numbers: Iterable[int]) -> Sequence[Applied]:
    """Give everything that is there before the nodes' agents are."""
    nodes = [node_objects(number, ready=False, reason="NodeStarting") for number in numbers]
    return [*control_plane_objects(), *(applied for node in nodes for applied in node)]


class ObjectWriter(Protocol):
    """Where the objects of the mesh are written."""

    async def apply(self, objects: Sequence[Applied]) -> None:
        """Make the objects be as given. Errors: ``MeshError``."""

    async def keep_nodes(self, names: Collection[str]) -> None:
        """Delete the nodes that an earlier mesh had and this one has not. Errors: ``MeshError``."""

    async def close(self) -> None:
        """Give the connection up."""


class ClusterObjects:
    """Writes to an API server."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def apply(self, objects: Sequence[Applied]) -> None:
        """Make the objects be as given. Errors: those of ``Cluster.patch``."""
        for given in objects:
            await self._cluster.patch(
                given.kind,
                given.name,
                given.namespace,
                given.body,
                subresource=given.subresource,
                # A node has an InternalIP of each family, which an apply's list key forbids.
                style="merge" if given.subresource else "apply",
                manager=MANAGER,
            )

    async def keep_nodes(self, names: Collection[str]) -> None:
        """Delete all other nodes; their pods go with them. Errors: those of ``Cluster.delete``."""
        for node in await self._cluster.list(Node):
            if node.metadata.name not in names:
                await self._cluster.delete(Node, node.metadata.name, uid=node.metadata.uid)

    async def close(self) -> None:
        """Close the connections."""
        await self._cluster.close()


async def open_objects(home: Home) -> ObjectWriter:
    """Connect to the API server of a home as its administrator. Errors: ``MeshError``."""
    return ClusterObjects(await Cluster.connect(home.kubeconfig))


def _node_info() -> Mapping[str, str]:
    system = platform.uname()
    return {
        "kernelVersion": system.release,
        "osImage": _distribution(),
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(system.machine, system.machine),
        "operatingSystem": "linux",
        "containerRuntimeVersion": f"ambimesh://{__version__}",
        "kubeletVersion": "v1.32.0+ambimesh",
        "kubeProxyVersion": "",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return "Linux"
