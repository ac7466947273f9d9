"""A small client of discovery and certificates: what a node proxy does, over grpcio."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message

from ambimesh.model.policy import Authorization
from ambimesh.model.workload import Address
from ambimesh.wire.addresses import address_from_wire
from ambimesh.wire.generated import authorization_pb2 as authorization
from ambimesh.wire.generated import ca_pb2, discovery_pb2, workload_pb2
from ambimesh.wire.policies import authorization_from_wire
from ambimesh.wire.resources import ADDRESS_TYPE, AUTHORIZATION_TYPE

NODE_ID = "ztunnel~198.18.0.2~ztunnel-node-1.istio-system~istio-system.svc.cluster.local"


@dataclass
class Mirror:
    """What a subscriber knows: it takes every response and acknowledges it."""

    addresses: dict[str, Address] = field(default_factory=dict)
    policies: dict[str, Authorization] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    responses: list[discovery_pb2.DeltaDiscoveryResponse] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def take(self, response: discovery_pb2.DeltaDiscoveryResponse) -> None:
        """Apply a response."""
        self.responses.append(response)
        known = self.versions.setdefault(response.type_url, {})
        values = self._values(response.type_url)
        for resource in response.resources:
            known[resource.name] = resource.version
            values[resource.name] = _read(resource)
        for name in response.removed_resources:
            known.pop(name, None)
            values.pop(name, None)

    async def wait_until(self, condition: object) -> None:
        """Wait until ``condition()`` holds after a response."""
        assert callable(condition)
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(condition)

    def _values(self, type_url: str) -> dict[str, object]:
        table: Mapping[str, object] = {
            ADDRESS_TYPE: self.addresses,
            AUTHORIZATION_TYPE: self.policies,
        }
        found = table[type_url]
        assert isinstance(found, dict)
        return found


def _read(resource: discovery_pb2.Resource) -> object:
    content = resource.resource.value
    if resource.resource.type_url == ADDRESS_TYPE:
        return address_from_wire(workload_pb2.Address.FromString(content))
    assert resource.resource.type_url == AUTHORIZATION_TYPE
    return authorization_from_wire(authorization.Authorization.FromString(content))


def first_request(
    type_url: str,
    *,
    node_id: str = NODE_ID,
    subscribe: Iterable[str] = (),
    unsubscribe: Iterable[str] = (),
    held: Mapping[str, str] | None = None,
) -> discovery_pb2.DeltaDiscoveryRequest:
    """Make the request that opens a type."""
    request = discovery_pb2.DeltaDiscoveryRequest(
        type_url=type_url,
        resource_names_subscribe=subscribe,
        resource_names_unsubscribe=unsubscribe,
        initial_resource_versions=dict(held or {}),
    )
    request.node.id = node_id
    request.node.metadata["NODE_NAME"] = "node-1"
    request.node.metadata["NAMESPACE"] = "istio-system"
    return request


@asynccontextmanager
async def open_channel(
    target: str, root: bytes, *, name: str = "istiod.istio-system.svc"
) -> AsyncIterator[grpc.aio.Channel]:
    """Open a TLS channel that trusts ``root`` and expects ``name``."""
    credentials = grpc.ssl_channel_credentials(root)
    options = (("grpc.ssl_target_name_override", name),) if name else ()
    async with grpc.aio.secure_channel(target, credentials, options) as channel:
        yield channel


@asynccontextmanager
async def subscribed(
    channel: grpc.aio.Channel,
    token: str,
    requests: Iterable[discovery_pb2.DeltaDiscoveryRequest] = (),
) -> AsyncIterator[Mirror]:
    """Follow addresses and policies; every response is acknowledged."""
    mirror = Mirror()
    stream = discovery_stream(channel, token)
    wanted = list(requests) or [first_request(t) for t in (ADDRESS_TYPE, AUTHORIZATION_TYPE)]
    for request in wanted:
        await stream.write(request)

    async def follow() -> None:
        async for response in stream:
            async with mirror.changed:
                mirror.take(response)
                mirror.changed.notify_all()
            await stream.write(
                discovery_pb2.DeltaDiscoveryRequest(
                    type_url=response.type_url, response_nonce=response.nonce
                )
            )

    async with asyncio.TaskGroup() as tasks:
        follower = tasks.create_task(follow())
        await mirror.wait_until(lambda: len(mirror.versions) == len(wanted))
        yield mirror
        follower.cancel()
    stream.cancel()


def discovery_stream(
    channel: grpc.aio.Channel, token: str
) -> "grpc.aio.StreamStreamCall[Message, discovery_pb2.DeltaDiscoveryResponse]":
    """Open a bare discovery stream."""
    method = channel.stream_stream(
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        request_serializer=discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
        response_deserializer=discovery_pb2.DeltaDiscoveryResponse.FromString,
    )
    return method(metadata=(("authorization", f"Bearer {token}"), ("clusterid", "Kubernetes")))


async def converse(
    channel: grpc.aio.Channel, token: str, request: discovery_pb2.DeltaDiscoveryRequest
) -> discovery_pb2.DeltaDiscoveryResponse:
    """Open a stream with one request and give the first response, or raise how it ended."""
    stream = discovery_stream(channel, token)
    await stream.write(request)
    response = await stream.read()
    if not isinstance(response, discovery_pb2.DeltaDiscoveryResponse):
        await stream.read()  # raises the status of the stream
        pytest.fail("the stream ended without a response and without an error")
    stream.cancel()
    return response


async def create_certificate(
    channel: grpc.aio.Channel,
    token: str,
    csr: str,
    *,
    impersonated: str = "",
    seconds: int = 0,
) -> list[str]:
    """Ask for a certificate; give its chain."""
    request = ca_pb2.IstioCertificateRequest(csr=csr, validity_duration=seconds)
    if impersonated:
        request.metadata["ImpersonatedIdentity"] = impersonated
    method = channel.unary_unary(
        "/istio.v1.auth.IstioCertificateService/CreateCertificate",
        request_serializer=ca_pb2.IstioCertificateRequest.SerializeToString,
        response_deserializer=ca_pb2.IstioCertificateResponse.FromString,
    )
    response = await method(request, metadata=(("authorization", f"Bearer {token}"),), timeout=10)
    return list(response.cert_chain)
