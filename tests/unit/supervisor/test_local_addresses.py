"""Addresses are the documented ones, never overlap, and are not used again at once."""

from ipaddress import ip_network
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local import addresses

NODES = st.integers(1, addresses.MAX_NODES)


def test_documented_addresses() -> None:
    """The examples of the documentation are what the functions give."""
    assert [str(a) for a in addresses.control().both] == ["198.18.0.1", "fd98:616d:6269::1"]
    assert [str(a) for a in addresses.node(2).both] == ["198.18.0.3", "fd98:616d:6269::3"]
    assert [str(a) for a in addresses.gateway(7).both] == ["198.18.7.1", "fd98:616d:6269:7::1"]
    assert [str(a) for a in addresses.pod(1, 10).both] == ["198.18.1.10", "fd98:616d:6269:1::a"]
    assert str(addresses.pods(200).v6) == "fd98:616d:6269:c8::/64"


def test_networks_never_overlap_and_stay_in_their_range() -> None:
    """The fabric, all nodes and the services are apart, inside the two documented prefixes."""
    networks = [
        addresses.fabric(),
        *(addresses.pods(number) for number in range(1, addresses.MAX_NODES + 1)),
        addresses.services(),
    ]
    v4, v6 = ip_network("198.18.0.0/15"), ip_network("fd98:616d:6269::/48")
    assert all(n.v4.subnet_of(v4) and n.v6.subnet_of(v6) for n in networks)  # type: ignore[arg-type]  # families are known
    for one, other in combinations(networks, 2):
        assert not one.v4.overlaps(other.v4)
        assert not one.v6.overlaps(other.v6)


@given(NODES, NODES)
def test_nodes_have_addresses_of_their_own(one: int, other: int) -> None:
    """Two nodes share an address only when they are one."""
    assert (addresses.node(one) == addresses.node(other)) == (one == other)
    assert addresses.control() != addresses.node(one)


@pytest.mark.parametrize("number", [0, -1, 201])
def test_node_out_of_range_is_refused(number: int) -> None:
    """There are nodes 1 to 200."""
    with pytest.raises(ValueError, match=r"not in 1\.\.200"):
        addresses.pods(number)


@given(st.sets(st.integers(10, 254), max_size=244), st.integers(10, 254))
def test_free_pod_is_free_and_the_one_least_recently_used(taken: set[int], after: int) -> None:
    """The next free number comes, so an address that was just given up comes last."""
    chosen = addresses.free_pod(taken, after=after)

    assert chosen not in taken
    passed = {(after - 10 + step) % 245 + 10 for step in range(1, (chosen - after - 1) % 245 + 1)}
    assert passed <= taken


def test_full_node_is_an_error() -> None:
    """The 246th pod has no address."""
    with pytest.raises(addresses.PodAddressesExhaustedError):
        addresses.free_pod(set(range(10, 255)))
