"""xDS resources as finished bytes: each is made once, and a push joins them.

A protobuf message would pin 3 kB where its bytes are 300, and serialising it again for every
subscriber is the largest cost of a push (research/python-ecosystem.md §2).
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message

from ambimesh.model.names import ResourceName
from ambimesh.model.policy import Authorization
from ambimesh.model.workload import Address, Workload
from ambimesh.wire.addresses import address_to_wire
from ambimesh.wire.generated import discovery_pb2 as pb
from ambimesh.wire.policies import authorization_to_wire

ADDRESS_TYPE: Final = "type.googleapis.com/istio.workload.Address"
AUTHORIZATION_TYPE: Final = "type.googleapis.com/istio.security.Authorization"

_RESOURCES_TAG: Final = b"\x12"  # field 2, length-delimited: DeltaDiscoveryResponse.resources
_VERSION_BYTES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """One resource, ready to be sent.

    ``version`` is a hash of the content, so that replicas agree and a client that reconnects
    gets only what differs. BLAKE2b cut to 64 bits: Istio uses xxHash64, but versions are opaque
    to clients, protobuf bytes of two implementations need not be equal anyway, and a hash
    of the standard library costs 1 µs where xxHash64 in Python costs 30.
    """

    name: ResourceName
    version: str
    chunk: bytes = field(repr=False)  # tag + length + envoy.service.discovery.v3.Resource
    aliases: tuple[str, ...] = ()  # what else on-demand subscribers may ask for it by
    services: frozenset[str] = frozenset()  # resource names of the services a workload is of
    node: str = ""  # where a workload runs

    def aliased_chunk(self) -> bytes:
        """Give the chunk with the aliases in it, as on-demand subscribers need it."""
        found = pb.DeltaDiscoveryResponse.FromString(self.chunk).resources[0]
        found.aliases.extend(self.aliases)
        return _chunk(found)


def address_resource(address: Address) -> Resource:
    """Make the resource of a workload or service."""
    version, chunk = _finish(address.resource_name, ADDRESS_TYPE, address_to_wire(address))
    if isinstance(address, Workload):
        return Resource(
            name=address.resource_name,
            version=version,
            chunk=chunk,
            aliases=tuple(f"{address.network}/{ip}" for ip in address.addresses),
            services=frozenset(address.services),
            node=address.node,
        )
    aliases = tuple(place.alias for place in address.addresses)
    return Resource(name=address.resource_name, version=version, chunk=chunk, aliases=aliases)


def authorization_resource(policy: Authorization) -> Resource:
    """Make the resource of a policy."""
    message = authorization_to_wire(policy)
    version, chunk = _finish(policy.resource_name, AUTHORIZATION_TYPE, message)
    return Resource(name=policy.resource_name, version=version, chunk=chunk)


def response(header: pb.DeltaDiscoveryResponse, chunks: Iterable[bytes]) -> bytes:
    """Finish a response: the fields of ``header``, then the resources."""
    return header.SerializeToString() + b"".join(chunks)


def _finish(name: ResourceName, type_url: str, message: Message) -> tuple[str, bytes]:
    content = message.SerializeToString(deterministic=True)
    resource = pb.Resource(
        name=name,
        version=hashlib.blake2b(content, digest_size=_VERSION_BYTES).hexdigest(),
    )
    resource.resource.type_url = type_url
    resource.resource.value = content
    return resource.version, _chunk(resource)


def _chunk(resource: pb.Resource) -> bytes:
    body = resource.SerializeToString()
    return _RESOURCES_TAG + _varint(len(body)) + body


def _varint(number: int) -> bytes:
    """Write an unsigned number as protobuf does: seven bits a byte, the lowest first."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
