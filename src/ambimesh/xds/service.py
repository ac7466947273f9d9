"""The gRPC side of delta discovery: streams, and nothing that needs deciding."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, cast

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.errors import words
from ambimesh.kube.tokens import TokenIdentity
from ambimesh.model.names import ResourceName
from ambimesh.wire.generated import discovery_pb2 as pb
from ambimesh.wire.resources import Resource
from ambimesh.xds.admission import Admission
from ambimesh.xds.node import Subscriber, read_node
from ambimesh.xds.session import ProtocolError, Session
from ambimesh.xds.store import ResourceStore

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
METHOD: Final = "DeltaAggregatedResources"

Identify = Callable[[str], Awaitable[TokenIdentity | None]]
Context = grpc.aio.ServicerContext[bytes, bytes]

_FIRST_REQUEST_SECONDS: Final = 15.0
_STREAMS_BETWEEN_BREATHS: Final = 100  # waking 1,000 streams holds the loop for 60 to 150 ms

_log = structlog.get_logger(__name__)


@dataclass(eq=False, slots=True)
class Stream:
    """One open stream."""

    subscriber: Subscriber
    caller: TokenIdentity
    peer: str
    connected_at: float
    session: Session
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class DiscoveryService:
    """Serves delta discovery from a store.

    Args:
        store: Where the resources are; this service is its writer.
        identify: Tells whom an ``authorization`` header speaks for.
        admission: Paces the opening of streams.
        clock: Seconds since the epoch, for people.
    """

    def __init__(
        self,
        store: ResourceStore,
        *,
        identify: Identify,
        admission: Admission,
        clock: Callable[[], float],
    ) -> None:
        self.streams: set[Stream] = set()
        self.ready = asyncio.Event()  # until it is set, streams are refused
        self.push_count = 0
        self.rejected_count = 0
        self._store = store
        self._identify = identify
        self._admission = admission
        self._clock = clock
        self._closing = asyncio.Event()

    def handler(self) -> grpc.GenericRpcHandler:
        """Give what a gRPC server serves."""
        method: grpc.RpcMethodHandler[bytes, bytes]  # no serialisers: bytes in, bytes out
        method = grpc.stream_stream_rpc_method_handler(self._serve)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def publish(self, changes: Mapping[str, Mapping[ResourceName, Resource | None]]) -> None:
        """Put changed resources, by type, into the store and wake whom they concern."""
        for type_url, changed in changes.items():
            self._store.update(type_url, changed)
        for number, stream in enumerate(tuple(self.streams)):
            for type_url, changed in changes.items():
                stream.session.mark(type_url, changed.keys())
            stream.wake.set()
            if number % _STREAMS_BETWEEN_BREATHS == _STREAMS_BETWEEN_BREATHS - 1:
                await asyncio.sleep(0)

    def resource_count(self, type_url: str) -> int:
        """Tell how many resources of a type there are."""
        return len(self._store.resources(type_url))

    def close(self) -> None:
        """End every stream; clients connect again, to another replica if there is one."""
        self._closing.set()
        for stream in self.streams:
            stream.wake.set()

    async def _serve(self, _: object, context: Context) -> None:
        caller = await self._authenticate(context)
        if not self.ready.is_set() or self._closing.is_set():
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the server is not ready")
        await self._admission.wait()
        request = await self._first_request(context)
        subscriber = await self._introduce(request, caller, context)
        stream = Stream(
            subscriber=subscriber,
            caller=caller,
            peer=context.peer(),
            connected_at=self._clock(),
            session=Session(self._store, subscriber.node),
        )
        self.streams.add(stream)
        _log.info("subscriber connected", node=subscriber.id, peer=stream.peer)
        try:
            await self._converse(stream, request, context)
        finally:
            self.streams.discard(stream)
            _log.info("subscriber disconnected", node=subscriber.id, peer=stream.peer)

    async def _authenticate(self, context: Context) -> TokenIdentity:
        headers = dict(cast("Iterable[tuple[str, Any]]", context.invocation_metadata() or ()))
        try:
            caller = await self._identify(str(headers.get("authorization", "")))
        except MeshError as error:
            _log.warning("token not checked", error=words(error))
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "the token cannot be checked now")
        if caller is None:
            await _abort(context, grpc.StatusCode.UNAUTHENTICATED, "no valid token")
        return caller

    async def _first_request(self, context: Context) -> pb.DeltaDiscoveryRequest:
        try:
            async with asyncio.timeout(_FIRST_REQUEST_SECONDS):
                request = await _read(context)
        except TimeoutError:
            await _abort(context, grpc.StatusCode.DEADLINE_EXCEEDED, "no request came")
        if request is None:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, "no request came")
        return request

    async def _introduce(
        self, request: pb.DeltaDiscoveryRequest, caller: TokenIdentity, context: Context
    ) -> Subscriber:
        """Compare what the node says with whom the token speaks for."""
        try:
            subscriber = read_node(request.node)
        except ValueError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        account = subscriber.service_account or caller.service_account
        if (subscriber.namespace, account) != (caller.namespace, caller.service_account):
            said = f"{subscriber.namespace}/{account}"
            is_ = f"{caller.namespace}/{caller.service_account}"
            message = f"the node says it is {said}, its token {is_}"
            await _abort(context, grpc.StatusCode.PERMISSION_DENIED, message)
        return subscriber

    async def _converse(
        self, stream: Stream, request: pb.DeltaDiscoveryRequest, context: Context
    ) -> None:
        async with asyncio.TaskGroup() as tasks:
            reader = tasks.create_task(self._read_all(stream, request, context))
            writer = tasks.create_task(self._write_all(stream, context))
            await asyncio.wait((reader, writer), return_when=asyncio.FIRST_COMPLETED)
            reader.cancel()
            writer.cancel()
        if not reader.cancelled() and (fault := reader.result()):
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, fault)
        if self._closing.is_set():
            await _abort(context, grpc.StatusCode.UNAVAILABLE, "the server is going away")

    async def _read_all(
        self, stream: Stream, first: pb.DeltaDiscoveryRequest, context: Context
    ) -> str:
        """Take requests until the peer has no more; return what was wrong, if anything."""
        request: pb.DeltaDiscoveryRequest | None = first
        try:
            while request is not None:
                self._take(stream, request)
                stream.wake.set()
                request = await _read(context)
        except (ProtocolError, DecodeError) as error:
            return str(error) or "not a discovery request"
        return ""

    def _take(self, stream: Stream, request: pb.DeltaDiscoveryRequest) -> None:
        stream.session.receive(request)
        if request.HasField("error_detail"):
            self.rejected_count += 1
            _log.warning(
                "push rejected",
                node=stream.subscriber.id,
                type_url=request.type_url,
                error=request.error_detail.message,
            )

    async def _write_all(self, stream: Stream, context: Context) -> None:
        """Send what the session has to say; return when the service closes."""
        while not self._closing.is_set():
            await stream.wake.wait()
            stream.wake.clear()
            while (made := stream.session.next_response()) is not None:
                await context.write(made)
                self.push_count += 1


async def _read(context: Context) -> pb.DeltaDiscoveryRequest | None:
    """Read one request; ``None`` when the peer has no more."""
    message: object = await context.read()
    if message is grpc.aio.EOF:
        return None
    return pb.DeltaDiscoveryRequest.FromString(cast("bytes", message))


async def _abort(context: Context, code: grpc.StatusCode, details: str) -> NoReturn:
    await context.abort(code, details)
    raise AssertionError("abort raises")
