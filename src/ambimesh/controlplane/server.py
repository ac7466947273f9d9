"""The TLS port: discovery and certificates over gRPC, behind bearer tokens."""

from collections.abc import Iterable, Sequence
from typing import Final

import grpc
import grpc.aio

from ambimesh.ca.serving import ServingCertificate
from ambimesh.controlplane.settings import Endpoint
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError

# Envoy and Istio's node proxy ping every 10 to 30 s, also on idle connections; gRPC takes that
# for abuse unless told otherwise. A reconnecting node proxy names every resource that it
# holds: 100 bytes each, so 32 MiB is a mesh of 300,000.
OPTIONS: Final = (
    ("grpc.max_receive_message_length", 32 << 20),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_concurrent_streams", 100_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.so_reuseport", 0),  # a second control plane on the port must be an error
)
_DRAIN_SECONDS: Final = 2.0


class MeshServer:
    """A gRPC server whose certificate is the one in force at each handshake."""

    def __init__(
        self, handlers: Sequence[grpc.GenericRpcHandler], certificate: ServingCertificate
    ) -> None:
        self._certificate = certificate
        self._server = grpc.aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers(handlers)

    async def start(self, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
        """Listen; give the endpoints with their real ports.

        Errors: ``EnvironmentFaultError`` when one of them cannot be had.
        """
        bound = []
        for endpoint in endpoints:
            # One for each endpoint: gRPC refuses a second port with the same dynamic credentials.
            credentials = _ChangingCertificate(self._certificate).credentials()
            try:
                port = self._server.add_secure_port(str(endpoint), credentials)
            except RuntimeError as error:
                problem = catalogue.LISTEN_FAILED.problem(cause=str(error), address=endpoint)
                raise EnvironmentFaultError(problem) from error
            bound.append(Endpoint(host=endpoint.host, port=port))
        await self._server.start()
        return bound

    async def stop(self) -> None:
        """Refuse new calls, give those under way a moment, then end them."""
        await self._server.stop(_DRAIN_SECONDS)


class _ChangingCertificate:
    """What gRPC asks at each handshake of one port, from a thread of its own."""

    def __init__(self, certificate: ServingCertificate) -> None:
        self._certificate = certificate
        self._last: tuple[bytes, bytes] = (b"", b"")

    def credentials(self) -> grpc.ServerCredentials:
        """Give credentials that follow the certificate."""
        return grpc.dynamic_ssl_server_credentials(
            self._configuration(),
            self._changed,  # type: ignore[arg-type]  # None means unchanged to gRPC
        )

    def _configuration(self) -> grpc.ServerCertificateConfiguration:
        self._last = self._certificate.current()
        return grpc.ssl_server_certificate_configuration([self._last])

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        if self._certificate.current() == self._last:
            return None
        return self._configuration()
