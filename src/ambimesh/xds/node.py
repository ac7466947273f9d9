"""Who a subscriber says it is. Source: spec/control-plane.md §5.2."""

from dataclasses import dataclass
from typing import Final

from ambimesh.wire.generated import discovery_pb2 as pb

_PARTS: Final = 4  # "<type>~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """The node of a discovery request, read."""

    id: str
    type: str  # ztunnel, waypoint, ...
    address: str
    pod: str
    namespace: str
    service_account: str  # empty: not said
    node: str  # the machine it runs on; empty: not said
    cluster: str


def read_node(node: pb.Node) -> Subscriber:
    """Read a node. Errors: ``ValueError`` for an id of another form."""
    parts = node.id.split("~")
    if len(parts) != _PARTS or not all(parts):
        raise ValueError(f"node id {node.id[:200]!r} is not <type>~<ip>~<pod>.<ns>~<domain>")
    kind, address, place, _ = parts
    pod, _, namespace = place.rpartition(".")
    metadata = node.metadata.fields
    return Subscriber(
        id=node.id,
        type=kind,
        address=address,
        pod=pod,
        namespace=metadata["NAMESPACE"].string_value if "NAMESPACE" in metadata else namespace,
        service_account=_text(node, "SERVICE_ACCOUNT"),
        node=_text(node, "NODE_NAME"),
        cluster=_text(node, "CLUSTER_ID"),
    )


def _text(node: pb.Node, key: str) -> str:
    fields = node.metadata.fields
    return fields[key].string_value if key in fields else ""
