"""The gRPC side of the certificate authority. Source: spec/control-plane.md §6.1."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Final, NoReturn, Protocol, cast

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from ambimesh.ca.authority import (
    Lifetimes,
    Signer,
    SignerExpiredError,
    SigningRefusedError,
    chosen_lifetime,
    read_request,
)
from ambimesh.ca.permission import NodeAuthorizer, NotPermittedError
from ambimesh.diagnostics.problem import MeshError
from ambimesh.kube.errors import words
from ambimesh.kube.tokens import TokenIdentity
from ambimesh.wire.generated import ca_pb2 as pb

SERVICE: Final = "istio.v1.auth.IstioCertificateService"
METHOD: Final = "CreateCertificate"
IMPERSONATED: Final = "ImpersonatedIdentity"

Identify = Callable[[str], Awaitable[TokenIdentity | None]]
Context = grpc.aio.ServicerContext[bytes, bytes]

_log = structlog.get_logger(__name__)


class SignerSource(Protocol):
    """Where the signer in force is; it changes when the root does."""

    def current(self) -> Signer | None:
        """Give the signer, or ``None`` while there is none yet."""


class CertificateService:
    """Makes certificates for workloads.

    Args:
        signers: Where the signer is.
        authorizer: Decides whose certificate a caller gets.
        identify: Tells whom an ``authorization`` header speaks for.
        lifetimes: How long certificates live.
        clock: The time of day, in UTC.
    """

    def __init__(
        self,
        signers: SignerSource,
        authorizer: NodeAuthorizer,
        *,
        identify: Identify,
        lifetimes: Lifetimes,
        clock: Callable[[], datetime],
    ) -> None:
        self.issued_count = 0
        self.refused_count = 0
        self._signers = signers
        self._authorizer = authorizer
        self._identify = identify
        self._lifetimes = lifetimes
        self._clock = clock

    def handler(self) -> grpc.GenericRpcHandler:
        """Give what a gRPC server serves."""
        method: grpc.RpcMethodHandler[bytes, bytes]
        method = grpc.unary_unary_rpc_method_handler(self._create)
        return grpc.method_handlers_generic_handler(SERVICE, {METHOD: method})

    async def _create(self, message: bytes, context: Context) -> bytes:
        caller = await self._authenticate(context)
        signer = self._signers.current()
        if signer is None:
            await self._refuse(context, grpc.StatusCode.UNAVAILABLE, "there is no signer yet")
        try:
            request = pb.IstioCertificateRequest.FromString(message)
            fields = request.metadata.fields
            wanted = fields[IMPERSONATED].string_value if IMPERSONATED in fields else ""
            identity = self._authorizer.permitted(caller, wanted)
            lifetime = chosen_lifetime(request.validity_duration, self._lifetimes)
            csr = read_request(request.csr)
            chain = signer.sign(csr, identity, lifetime=lifetime, now=self._clock())
        except NotPermittedError as error:
            _log.warning("certificate refused", caller=repr(caller), error=str(error))
            await self._refuse(context, grpc.StatusCode.UNAUTHENTICATED, "not permitted")
        except (SigningRefusedError, DecodeError) as error:
            await self._refuse(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        except SignerExpiredError as error:
            _log.error("certificate not made", error=str(error))
            await self._refuse(context, grpc.StatusCode.INTERNAL, str(error))
        self.issued_count += 1
        return pb.IstioCertificateResponse(cert_chain=chain).SerializeToString()

    async def _authenticate(self, context: Context) -> TokenIdentity:
        headers = dict(cast("Iterable[tuple[str, Any]]", context.invocation_metadata() or ()))
        try:
            caller = await self._identify(str(headers.get("authorization", "")))
        except MeshError as error:
            _log.warning("token not checked", error=words(error))
            await self._refuse(
                context, grpc.StatusCode.UNAVAILABLE, "the token cannot be checked now"
            )
        if caller is None:
            await self._refuse(context, grpc.StatusCode.UNAUTHENTICATED, "no valid token")
        return caller

    async def _refuse(self, context: Context, code: grpc.StatusCode, details: str) -> NoReturn:
        self.refused_count += 1
        await context.abort(code, details)
        raise AssertionError("abort raises")
