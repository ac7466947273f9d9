"""One subscriber's side of delta discovery, without I/O.

Requests go in, responses come out when the subscriber is ready for one. A session keeps no
queue: what has changed is a set of names, so a slow subscriber gets fewer, larger responses.
Source: Envoy's xDS protocol, "incremental xDS"; spec/control-plane.md §5.6 to §5.8.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ambimesh.model.names import ResourceName
from ambimesh.wire.generated import discovery_pb2 as pb
from ambimesh.wire.resources import ADDRESS_TYPE, Resource, response
from ambimesh.xds.store import TYPES, ResourceStore

WILDCARD: Final = "*"
MOST_TYPES: Final = 32  # on one stream; there are a dozen


class ProtocolError(Exception):
    """The peer does what no client of the protocol does."""


@dataclass(slots=True)
class Subscription:
    """What one stream wants of one type, and how far it has come."""

    wildcard: bool = False
    requested: set[str] = field(default_factory=set)  # on demand: the keys asked for
    known: set[str] = field(default_factory=set)  # on demand: the names that were sent
    changed: set[ResourceName] = field(default_factory=set)  # to be sent
    missing: set[str] = field(default_factory=set)  # asked for, and not there: to be said
    held: Mapping[str, str] = field(default_factory=dict)  # versions held at the first request
    owes_answer: bool = True  # the first request is always answered
    everything: bool = True  # the next response starts from all there is
    outstanding: str = ""  # nonce of the response that is not answered yet
    sent: str = ""  # nonce of the last response
    acknowledged: str = ""
    last_error: str = ""
    rejected_count: int = 0


class Session:
    """The subscriptions of one stream.

    Args:
        store: Where the resources are.
        node: The node the subscriber runs on; an on-demand subscriber is told of all its pods.
    """

    def __init__(self, store: ResourceStore, node: str = "") -> None:
        self.subscriptions: dict[str, Subscription] = {}
        self._store = store
        self._node = node
        self._responses = 0

    def receive(self, request: pb.DeltaDiscoveryRequest) -> None:
        """Take one request; afterwards ask ``next_response``.

        Errors: ``ProtocolError``: the stream must be ended.
        """
        subscription = self.subscriptions.get(request.type_url)
        if subscription is None:
            if len(self.subscriptions) >= MOST_TYPES:
                raise ProtocolError(f"more than {MOST_TYPES} types on one stream")
            self.subscriptions[request.type_url] = self._open(request)
            return
        if request.response_nonce:
            _answered(subscription, request)
        self._subscribe(request.type_url, subscription, request.resource_names_subscribe)
        _unsubscribe(subscription, request.resource_names_unsubscribe)

    def mark(self, type_url: str, names: Iterable[ResourceName]) -> None:
        """Note that resources changed, came or went."""
        subscription = self.subscriptions.get(type_url)
        if subscription is None or subscription.everything:
            return
        if subscription.wildcard:
            subscription.changed.update(names)
        else:
            subscription.changed.update(n for n in names if self._concerns(subscription, n))

    def next_response(self) -> bytes | None:
        """Give the next response to send, if there is one that the subscriber is ready for.

        A type has at most one response that is neither acknowledged nor rejected, and waits
        for the types before it.
        """
        for type_url in (*TYPES, *self.subscriptions.keys() - set(TYPES)):
            subscription = self.subscriptions.get(type_url)
            if subscription is None:
                continue
            if subscription.outstanding:
                return None
            made = self._respond(type_url, subscription)
            if made is not None:
                return made
        return None

    def _open(self, request: pb.DeltaDiscoveryRequest) -> Subscription:
        subscribed = set(request.resource_names_subscribe)
        unsubscribed = set(request.resource_names_unsubscribe)
        wildcard = not subscribed or WILDCARD in subscribed
        subscription = Subscription(wildcard=wildcard and WILDCARD not in unsubscribed)
        subscription.held = dict(request.initial_resource_versions)
        if not subscription.wildcard:
            subscription.everything = False
            wanted = (subscribed | subscription.held.keys()) - unsubscribed - {WILDCARD}
            self._subscribe(request.type_url, subscription, wanted)
        return subscription

    def _subscribe(self, type_url: str, subscription: Subscription, keys: Iterable[str]) -> None:
        for key in keys:
            if key == WILDCARD:
                subscription.everything = subscription.everything or not subscription.wildcard
                subscription.wildcard = True
            elif not subscription.wildcard:
                subscription.requested.add(key)
                found = self._store.lookup(type_url, key)
                subscription.changed.update(found)
                if not found:
                    subscription.missing.add(key)

    def _concerns(self, subscription: Subscription, name: ResourceName) -> bool:
        if name in subscription.known or name in subscription.requested:
            return True
        resource = self._store.resources(ADDRESS_TYPE).get(name)
        if resource is None:
            return False
        if self._node and resource.node == self._node:
            return True
        services = resource.services
        return not (
            subscription.requested.isdisjoint(resource.aliases)
            and services.isdisjoint(subscription.requested)
            and services.isdisjoint(subscription.known)
        )

    def _respond(self, type_url: str, subscription: Subscription) -> bytes | None:
        resources = self._store.resources(type_url)
        if subscription.everything and subscription.wildcard:
            chosen, removed = _all(resources, subscription.held)
        else:
            chosen, removed = _some(resources, subscription)
        if not (chosen or removed or subscription.owes_answer):
            return None
        subscription.everything = False
        subscription.owes_answer = False
        subscription.held = {}
        subscription.changed.clear()
        subscription.missing.clear()
        self._responses += 1
        nonce = f"{self._store.version}-{self._responses}"
        subscription.sent = subscription.outstanding = nonce
        header = pb.DeltaDiscoveryResponse(
            system_version_info=self._store.version,
            type_url=type_url,
            nonce=nonce,
            removed_resources=sorted(removed),
        )
        if subscription.wildcard:
            return response(header, (resource.chunk for resource in chosen))
        subscription.known.update(resource.name for resource in chosen)
        subscription.known.difference_update(removed)
        return response(header, (resource.aliased_chunk() for resource in chosen))


def _all(
    resources: Mapping[ResourceName, Resource], held: Mapping[str, str]
) -> tuple[list[Resource], set[str]]:
    """Choose what a wildcard subscriber lacks that holds ``held``."""
    chosen = [r for name, r in resources.items() if held.get(name) != r.version]
    return chosen, {name for name in held if name not in resources}


def _some(
    resources: Mapping[ResourceName, Resource], subscription: Subscription
) -> tuple[list[Resource], set[str]]:
    """Choose what changed for the subscriber, and what it asked for in vain."""
    changed, held = subscription.changed, subscription.held
    present = [resources[name] for name in changed if name in resources]
    chosen = [resource for resource in present if held.get(resource.name) != resource.version]
    gone: set[str] = {name for name in changed if name not in resources}
    return chosen, gone | subscription.missing


def _answered(subscription: Subscription, request: pb.DeltaDiscoveryRequest) -> None:
    """Note an ACK or NACK; one of an older response changes nothing."""
    if request.response_nonce != subscription.outstanding:
        return
    subscription.outstanding = ""
    if request.HasField("error_detail"):
        subscription.rejected_count += 1
        subscription.last_error = request.error_detail.message
    else:
        subscription.acknowledged = request.response_nonce
        subscription.last_error = ""


def _unsubscribe(subscription: Subscription, keys: Iterable[str]) -> None:
    for key in keys:
        if key == WILDCARD:
            subscription.wildcard = False
            subscription.everything = False
        subscription.requested.discard(key)
        subscription.known.discard(key)
        subscription.missing.discard(key)
