"""Delta discovery, message by message and for any sequence of messages."""

from collections.abc import Mapping
from ipaddress import ip_address

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ambimesh.model.names import ClusterId, NetworkId, ResourceName, WorkloadUid, service_key
from ambimesh.model.workload import (
    Address,
    NetworkAddress,
    Service,
    Workload,
)
from ambimesh.wire.generated import discovery_pb2 as pb
from ambimesh.wire.resources import ADDRESS_TYPE, AUTHORIZATION_TYPE, Resource, address_resource
from ambimesh.xds.session import MOST_TYPES, ProtocolError, Session
from ambimesh.xds.store import ResourceStore
from support.xds import first_request

WEB = service_key("ns", "web.ns")


def workload(
    name: str, *, revision: str = "1", node: str = "far", of_web: bool = False
) -> Workload:
    """Make a workload; another ``revision`` gives another version."""
    return Workload(
        uid=WorkloadUid(name),
        name=name,
        namespace="ns",
        cluster=ClusterId("c"),
        addresses=(ip_address(f"10.0.0.{sum(name.encode()) % 250}"),),
        canonical_revision=revision,
        node=node,
        services={WEB: ()} if of_web else {},
    )


def web() -> Service:
    """Make the service."""
    vip = NetworkAddress(network=NetworkId(""), address=ip_address("10.96.0.1"))
    return Service(name="web", namespace="ns", hostname="web.ns", addresses=(vip,))


def changes(*addresses: Address, gone: tuple[str, ...] = ()) -> dict[ResourceName, Resource | None]:
    """Make an update of the store."""
    made: dict[ResourceName, Resource | None] = {
        address.resource_name: address_resource(address) for address in addresses
    }
    return {**made, **{ResourceName(name): None for name in gone}}


class Wire:
    """A session and its store; what the session says, parsed."""

    def __init__(self, *addresses: Address, node: str = "") -> None:
        self.store = ResourceStore(epoch="test")
        self.store.update(ADDRESS_TYPE, changes(*addresses))
        self.session = Session(self.store, node)

    def update(self, *addresses: Address, gone: tuple[str, ...] = ()) -> None:
        """Change the store as the service does."""
        made = changes(*addresses, gone=gone)
        self.store.update(ADDRESS_TYPE, made)
        self.session.mark(ADDRESS_TYPE, made.keys())

    def say(self, request: pb.DeltaDiscoveryRequest) -> pb.DeltaDiscoveryResponse | None:
        """Send a request and take the response, if there is one."""
        self.session.receive(request)
        return self.hear()

    def hear(self) -> pb.DeltaDiscoveryResponse | None:
        """Take the next response, if there is one."""
        made = self.session.next_response()
        return pb.DeltaDiscoveryResponse.FromString(made) if made is not None else None

    def ack(self, response: pb.DeltaDiscoveryResponse | None) -> pb.DeltaDiscoveryResponse | None:
        """Acknowledge a response and take the next one."""
        assert response is not None
        return self.say(request(nonce=response.nonce))


def request(
    *,
    nonce: str = "",
    subscribe: tuple[str, ...] = (),
    unsubscribe: tuple[str, ...] = (),
    error: str = "",
) -> pb.DeltaDiscoveryRequest:
    """Make a request that is not the first."""
    made = pb.DeltaDiscoveryRequest(
        type_url=ADDRESS_TYPE,
        response_nonce=nonce,
        resource_names_subscribe=subscribe,
        resource_names_unsubscribe=unsubscribe,
    )
    if error:
        made.error_detail.message = error
    return made


def names(response: pb.DeltaDiscoveryResponse | None) -> set[str]:
    """Give the names of the resources of a response."""
    assert response is not None
    return {resource.name for resource in response.resources}


def test_first_request_is_answered_with_everything() -> None:
    """A wildcard subscriber gets every resource, each with a version."""
    wire = Wire(workload("a"), web())

    response = wire.say(first_request(ADDRESS_TYPE))

    assert names(response) == {"a", "ns/web.ns"}
    assert response is not None
    assert all(len(resource.version) == 16 for resource in response.resources)
    assert not any(resource.aliases for resource in response.resources)


@pytest.mark.parametrize(
    "type_url", [ADDRESS_TYPE, AUTHORIZATION_TYPE, "type.googleapis.com/unknown"]
)
def test_first_request_is_answered_even_with_nothing(type_url: str) -> None:
    """Without an answer to each type a node proxy would never be ready."""
    wire = Wire()

    response = wire.say(first_request(type_url))

    assert response is not None
    assert response.type_url == type_url
    assert not response.resources


def test_subscriber_that_reconnects_gets_only_what_differs() -> None:
    """Held versions are compared; held names that are gone are removed."""
    wire = Wire(workload("same"), workload("new"), workload("changed", revision="2"))
    version = address_resource(workload("same")).version
    held = {"same": version, "changed": "old", "gone": "1"}

    response = wire.say(first_request(ADDRESS_TYPE, held=held))

    assert names(response) == {"new", "changed"}
    assert response is not None
    assert response.removed_resources == ["gone"]


def test_change_is_pushed_after_the_ack_and_gathered_until_then() -> None:
    """One response at a time: what changes meanwhile comes together, once."""
    wire = Wire(workload("a"))
    first = wire.say(first_request(ADDRESS_TYPE))

    wire.update(workload("b"))
    wire.update(workload("c"), gone=("a",))
    wire.update(workload("b", revision="2"))
    assert wire.hear() is None
    second = wire.ack(first)

    assert names(second) == {"b", "c"}
    assert second is not None
    assert second.removed_resources == ["a"]
    assert wire.ack(second) is None


def test_nack_is_recorded_and_not_answered() -> None:
    """A rejected push is not repeated; the next change is sent as usual."""
    wire = Wire(workload("a"))
    first = wire.say(first_request(ADDRESS_TYPE))
    assert first is not None

    assert wire.say(request(nonce=first.nonce, error="a: bad")) is None

    subscription = wire.session.subscriptions[ADDRESS_TYPE]
    assert subscription.last_error == "a: bad"
    assert subscription.rejected_count == 1
    assert subscription.acknowledged == ""
    wire.update(workload("b"))
    assert names(wire.hear()) == {"b"}


def test_answer_to_an_older_response_changes_nothing() -> None:
    """A nonce that is not the last one is no ACK."""
    wire = Wire(workload("a"))
    first = wire.say(first_request(ADDRESS_TYPE))
    wire.update(workload("b"))
    second = wire.ack(first)
    assert first is not None
    assert second is not None

    wire.update(workload("c"))
    assert wire.say(request(nonce=first.nonce)) is None
    assert names(wire.ack(second)) == {"c"}


def test_on_demand_subscriber_begins_with_nothing() -> None:
    """``*`` subscribed and unsubscribed at once is Istio's way to ask for nothing yet."""
    wire = Wire(workload("a"))

    response = wire.say(first_request(ADDRESS_TYPE, subscribe=["*"], unsubscribe=["*"]))
    assert names(response) == set()
    wire.ack(response)
    wire.update(workload("b"))

    assert wire.hear() is None


@pytest.mark.parametrize("key", ["ns/web.ns", "/10.96.0.1"])
def test_on_demand_service_comes_with_its_workloads_and_aliases(key: str) -> None:
    """A service is found by name or address, with all that answer for it."""
    wire = Wire(workload("a", of_web=True), workload("b", of_web=True), workload("c"), web())
    wire.ack(wire.say(first_request(ADDRESS_TYPE, subscribe=["*"], unsubscribe=["*"])))

    response = wire.say(request(subscribe=(key,)))

    assert names(response) == {"ns/web.ns", "a", "b"}
    assert response is not None
    aliases = {resource.name: list(resource.aliases) for resource in response.resources}
    assert aliases["ns/web.ns"] == ["/10.96.0.1"]


def test_on_demand_key_that_nobody_has_is_said_to_be_gone_and_comes_later() -> None:
    """The caller must not wait for ever; and it hears when the thing appears."""
    wire = Wire()
    wire.ack(wire.say(first_request(ADDRESS_TYPE, subscribe=["*"], unsubscribe=["*"])))
    late = workload("late")
    (key,) = address_resource(late).aliases

    response = wire.say(request(subscribe=(key,)))
    assert response is not None
    assert response.removed_resources == [key]
    wire.ack(response)
    wire.update(late)

    assert names(wire.hear()) == {"late"}


def test_on_demand_subscriber_hears_of_new_workloads_of_its_services_and_node() -> None:
    """New endpoints of a watched service, and pods of its own node, come unasked."""
    wire = Wire(web(), node="here")
    wire.ack(wire.say(first_request(ADDRESS_TYPE, subscribe=["ns/web.ns"])))

    wire.update(
        workload("endpoint", of_web=True), workload("local", node="here"), workload("other")
    )

    assert names(wire.hear()) == {"endpoint", "local"}


def test_unsubscribing_ends_the_news() -> None:
    """What was unsubscribed is not pushed any more."""
    wire = Wire(workload("a"))
    wire.ack(wire.say(first_request(ADDRESS_TYPE, subscribe=["a"])))

    assert wire.say(request(unsubscribe=("a",))) is None
    wire.update(workload("a", revision="2"))

    assert wire.hear() is None


def test_policies_are_known_before_the_workloads_that_list_them() -> None:
    """New addresses wait until new policies were sent and answered."""
    wire = Wire(workload("a"))
    wire.session.receive(first_request(ADDRESS_TYPE))
    wire.session.receive(first_request(AUTHORIZATION_TYPE))

    policies = wire.hear()
    assert policies is not None
    assert policies.type_url == AUTHORIZATION_TYPE
    assert wire.hear() is None
    wire.session.receive(
        pb.DeltaDiscoveryRequest(type_url=AUTHORIZATION_TYPE, response_nonce=policies.nonce)
    )

    assert names(wire.hear()) == {"a"}


def test_stream_with_too_many_types_is_ended() -> None:
    """A hostile peer cannot make a session grow without end."""
    wire = Wire()
    for number in range(MOST_TYPES):
        wire.session.receive(first_request(f"type/{number}"))

    with pytest.raises(ProtocolError):
        wire.session.receive(first_request("type/one-more"))


NAMES = st.sampled_from("abcd")


class WildcardMachine(RuleBasedStateMachine):
    """A wildcard subscriber that acknowledges when it likes, and may reconnect."""

    def __init__(self) -> None:
        super().__init__()
        self.wire = Wire()
        self.held: dict[str, str] = {}
        self.open: pb.DeltaDiscoveryResponse | None = None
        self.opened = False
        self._reconnect()

    def _reconnect(self) -> None:
        self.wire.session = Session(self.wire.store)
        self.wire.session.receive(first_request(ADDRESS_TYPE, held=self.held))
        self.open = None
        self.opened = False

    def _take(self) -> None:
        response = self.wire.hear()
        if response is None:
            return
        assert self.open is None, "a second response before the first was answered"
        self.open = response
        self.opened = True
        for resource in response.resources:
            self.held[resource.name] = resource.version
        for name in response.removed_resources:
            self.held.pop(name, None)

    @rule(name=NAMES, revision=st.sampled_from("12"))
    def put(self, name: str, revision: str) -> None:
        """An object comes or changes."""
        new = workload(name, revision=revision)
        resource = self.wire.store.resources(ADDRESS_TYPE).get(ResourceName(name))
        if resource is None or resource.version != address_resource(new).version:
            self.wire.update(new)

    @rule(name=NAMES)
    def remove(self, name: str) -> None:
        """An object goes."""
        if ResourceName(name) in self.wire.store.resources(ADDRESS_TYPE):
            self.wire.update(gone=(name,))

    @rule()
    def push(self) -> None:
        """The writer runs."""
        self._take()

    @precondition(lambda self: self.open is not None)
    @rule(rejects=st.booleans())
    def answer(self, rejects: bool) -> None:
        """The subscriber answers."""
        assert self.open is not None
        error = "no" if rejects else ""
        self.wire.session.receive(request(nonce=self.open.nonce, error=error))
        self.open = None

    @rule()
    def stale_answer(self) -> None:
        """An answer to something else arrives."""
        self.wire.session.receive(request(nonce="something else"))

    @rule()
    def reconnect(self) -> None:
        """The stream breaks."""
        self._reconnect()

    @invariant()
    def catches_up(self) -> None:
        """Whenever nothing is open and nothing to send, the subscriber has everything."""
        subscription = self.wire.session.subscriptions[ADDRESS_TYPE]
        idle = not subscription.changed and not subscription.everything
        if idle and self.open is None:
            resources: Mapping[ResourceName, Resource] = self.wire.store.resources(ADDRESS_TYPE)
            assert self.held == {str(n): r.version for n, r in resources.items()}


WildcardMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None
)
TestWildcardSubscriber = WildcardMachine.TestCase
