"""Which waypoint traffic to an object goes through, by the labels that name one.

A named waypoint is published whether it exists or not: a node proxy that cannot reach it
refuses the connection, so a bound waypoint is never bypassed (design D3).
Source: spec/control-plane.md §1.2, design D1.
"""

from typing import Final

from ambimesh.compile.selection import Labels
from ambimesh.kube.core import Namespace
from ambimesh.model.mesh import Mesh
from ambimesh.model.workload import GatewayReference, NamespacedHostname

USE_WAYPOINT: Final = "istio.io/use-waypoint"
USE_WAYPOINT_NAMESPACE: Final = "istio.io/use-waypoint-namespace"
MANAGED: Final = "gateway.istio.io/managed"

_OPT_OUT: Final = "none"
_GATEWAYS: Final = frozenset(("istio.io-mesh-controller", "istio.io-eastwest-controller"))


def bound_waypoint(
    labels: Labels, namespace: str, enclosing: Namespace | None, mesh: Mesh
) -> GatewayReference | None:
    """Find the waypoint of an object; its own labels win over those of its namespace.

    Args:
        labels: Those of the object.
        namespace: Where it is; also where its waypoint is, unless a label says otherwise.
        enclosing: The namespace object, if it is known.
        mesh: Settings of the mesh.
    """
    if labels.get(MANAGED) in _GATEWAYS:
        return None
    inherited = enclosing.metadata.labels if enclosing is not None else {}
    for found in (labels, inherited):
        name = found.get(USE_WAYPOINT, "")
        if name == _OPT_OUT:
            return None
        if name:
            where = found.get(USE_WAYPOINT_NAMESPACE) or namespace
            hostname = mesh.hostname(where, name)
            return GatewayReference(
                destination=NamespacedHostname(namespace=where, hostname=hostname)
            )
    return None


def binding_labels(namespace: Namespace | None) -> tuple[str, str]:
    """Give what the objects of a namespace inherit, to see whether it changed."""
    labels = namespace.metadata.labels if namespace is not None else {}
    return (labels.get(USE_WAYPOINT, ""), labels.get(USE_WAYPOINT_NAMESPACE, ""))
