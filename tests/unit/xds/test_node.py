"""Who a subscriber says it is."""

import pytest

from ambimesh.wire.generated import discovery_pb2 as pb
from ambimesh.wire.resources import ADDRESS_TYPE
from ambimesh.xds.node import read_node
from support.xds import NODE_ID, first_request


def test_node_of_a_node_proxy_is_read() -> None:
    """Type, address, pod, namespace and node are taken from id and metadata."""
    found = read_node(first_request(ADDRESS_TYPE).node)

    assert (found.type, found.address) == ("ztunnel", "198.18.0.2")
    assert (found.pod, found.namespace) == ("ztunnel-node-1", "istio-system")
    assert found.node == "node-1"


def test_namespace_of_the_id_counts_where_metadata_is_silent() -> None:
    """Metadata is optional."""
    assert read_node(pb.Node(id=NODE_ID)).namespace == "istio-system"


@pytest.mark.parametrize("text", ["", "ztunnel", "a~b~c", "a~b~c~", "a~b~c~d~e", "~~~"])
def test_other_ids_are_refused(text: str) -> None:
    """An id of another form names nobody."""
    with pytest.raises(ValueError, match="node id"):
        read_node(pb.Node(id=text))
