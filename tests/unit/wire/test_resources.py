"""Resources as finished bytes."""

from ipaddress import ip_address

import pytest
from google.protobuf import descriptor_pool

from ambimesh.model.names import ClusterId, NetworkId, WorkloadUid
from ambimesh.model.policy import Action, Authorization, PolicyScope
from ambimesh.model.workload import NetworkAddress, Service, Workload
from ambimesh.wire.addresses import address_from_wire, address_to_wire
from ambimesh.wire.generated import authorization_pb2, discovery_pb2, workload_pb2
from ambimesh.wire.policies import authorization_from_wire
from ambimesh.wire.resources import (
    ADDRESS_TYPE,
    address_resource,
    authorization_resource,
    response,
)


def workload(name: str, length: int = 1) -> Workload:
    """Make a workload whose resource has about ``length`` bytes."""
    return Workload(
        uid=WorkloadUid(f"c//Pod/n/{name}"),
        name="x" * length,
        namespace="n",
        cluster=ClusterId("c"),
        network=NetworkId("net"),
        addresses=(ip_address("10.0.0.1"), ip_address("fd00::1")),
        services={"b/b": (), "a/a": ()},  # type: ignore[dict-item]  # keys are names
    )


@pytest.mark.parametrize("length", [1, 100, 127, 128, 16_383, 16_384, 3_000_000])
def test_joined_chunks_parse_as_one_response(length: int) -> None:
    """Header and chunks together are what protobuf itself would have written."""
    resources = [address_resource(workload(f"w{number}", length)) for number in range(3)]
    header = discovery_pb2.DeltaDiscoveryResponse(
        type_url=ADDRESS_TYPE, nonce="n", removed_resources=["gone"]
    )

    made = discovery_pb2.DeltaDiscoveryResponse.FromString(
        response(header, (resource.chunk for resource in resources))
    )

    assert made.nonce == "n"
    assert list(made.removed_resources) == ["gone"]
    assert [r.name for r in made.resources] == [r.name for r in resources]
    for found in made.resources:
        assert found.resource.type_url == ADDRESS_TYPE
        assert workload_pb2.Address.FromString(found.resource.value).workload.name == "x" * length


def test_aliases_are_only_in_the_chunk_for_on_demand_subscribers() -> None:
    """Wildcard subscribers do not pay for aliases."""
    resource = address_resource(workload("w"))
    parse = discovery_pb2.DeltaDiscoveryResponse.FromString

    assert not parse(resource.chunk).resources[0].aliases
    assert list(parse(resource.aliased_chunk()).resources[0].aliases) == [
        "net/10.0.0.1",
        "net/fd00::1",
    ]


def test_range_of_addresses_has_its_length_in_the_alias() -> None:
    """A service that owns a range is found by the range."""
    place = NetworkAddress(network=NetworkId(""), address=ip_address("10.0.0.0"), length=8)
    service = Service(name="s", namespace="n", hostname="h", addresses=(place,))

    assert address_resource(service).aliases == ("/10.0.0.0/8",)


def test_version_depends_on_the_content_and_on_nothing_else() -> None:
    """Equal values have equal versions in every process, whatever the order of maps."""
    one = workload("w")
    other = workload("w")
    reordered = dict(reversed(list(other.services.items())))

    assert address_resource(one).version == "d43c4fef04e53fb1"
    object.__setattr__(other, "services", reordered)
    assert address_resource(other).version == address_resource(one).version
    assert address_resource(workload("w", 2)).version != address_resource(one).version


def test_messages_are_not_in_the_default_pool() -> None:
    """Another package with Envoy's or Istio's names can live in the same process."""
    assert discovery_pb2.Resource.DESCRIPTOR.full_name == "envoy.service.discovery.v3.Resource"
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("envoy.service.discovery.v3.Resource")


def test_policy_resource_is_named_by_namespace_and_name() -> None:
    """The name is the key by which workloads list it."""
    policy = Authorization(name="p", namespace="n", scope=PolicyScope.NAMESPACE, action=Action.DENY)

    assert authorization_resource(policy).name == "n/p"


def test_malformed_messages_are_errors_with_words() -> None:
    """Reading is partial: what has no meaning is named."""
    with pytest.raises(ValueError, match="without a type"):
        address_from_wire(workload_pb2.Address())
    odd = address_to_wire(workload("w"))
    odd.workload.network_mode = 9  # type: ignore[assignment]  # an unknown number
    with pytest.raises(ValueError, match="network mode"):
        address_from_wire(odd)
    policy = authorization_pb2.Authorization(action=9)  # type: ignore[arg-type]  # as above
    with pytest.raises(ValueError, match="unknown scope or action"):
        authorization_from_wire(policy)
