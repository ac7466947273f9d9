"""Requests to one API server: credentials from a kubeconfig, errors that name the object."""

import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx2
import msgspec
import structlog
import yaml
from lightkube.config.client_adapter import AsyncClient, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError

from ambimesh.diagnostics import catalogue
from ambimesh.kube.decoding import STATUS
from ambimesh.kube.errors import (
    ApiRequestError,
    ApiSilentError,
    ApiUnreachableError,
    KubeconfigError,
    Refusal,
    refused,
)

_ANSWER_SECONDS: Final = 30.0  # a whole request; callers set shorter deadlines around blocks
_CONNECT_SECONDS: Final = 5.0
_LONGEST_LINE_BYTES: Final = 64 << 20  # an object is at most about 3 MB; more is no API server
# What lightkube raises for a file that is no kubeconfig; it checks nothing itself.
_UNUSABLE: Final = (
    ConfigError,
    AssertionError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OSError,
    yaml.YAMLError,
)

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request and what it is about."""

    method: str
    path: str  # no leading slash
    subject: str  # the object, as people read it
    verb: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = "application/json"
    accept: str = "application/json"


class Connection:
    """A pool of connections to one API server."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client
        self._is_reachable = True  # as far as the last request told
        self.server = str(client.base_url).rstrip("/")

    @classmethod
    def open(
        cls, kubeconfig: Path | None, *, transport: httpx2.AsyncBaseTransport | None = None
    ) -> "Connection":
        """Prepare a connection; nothing is sent yet.

        Args:
            kubeconfig: The file to use; without one, the pod's own service account, the file
                named by ``KUBECONFIG``, or ``~/.kube/config``, the first that exists.
            transport: Takes the place of the network, for tests.

        Errors: ``KubeconfigError`` says what is wrong with the file.
        """
        try:
            config = _load(kubeconfig)
            parameters = ConnectionParams(
                timeout=httpx2.Timeout(_ANSWER_SECONDS, connect=_CONNECT_SECONDS),
                trust_env=False,  # the mesh's own addresses are never behind a proxy
                transport=transport,  # type: ignore[arg-type]  # its annotation is the sync one's
            )
            return cls(AsyncClient(config, parameters))
        except _UNUSABLE as error:
            path = str(kubeconfig) if kubeconfig else "of the environment"
            problem = catalogue.KUBECONFIG_UNUSABLE.problem(cause=_words(error), path=path)
            raise KubeconfigError(problem) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def ask(self, call: Call) -> bytes:
        """Send a request and give the body of its answer.

        Errors: ``ApiUnreachableError``; ``ApiRequestError`` and its subclasses for refusals.
        """
        try:
            answer = await self._client.send(self._request(call))
        except httpx2.HTTPError as error:
            raise self._unreachable(error) from error
        self._reached()
        if answer.is_success:
            return answer.content
        raise _refusal(call, answer.status_code, answer.content)

    async def lines(self, call: Call, *, inactivity_seconds: float) -> AsyncGenerator[bytes, None]:
        """Send a request and give its answer line by line, as the lines come.

        Errors: as ``ask``; ``ApiSilentError`` when nothing came for ``inactivity_seconds``.
        """
        timeout = httpx2.Timeout(
            _CONNECT_SECONDS, connect=_CONNECT_SECONDS, read=inactivity_seconds
        )
        request = self._request(call, timeout=timeout, identity=True)
        try:
            answer = await self._client.send(request, stream=True)
            self._reached()
            try:
                if not answer.is_success:
                    raise _refusal(call, answer.status_code, await answer.aread())
                async for line in _split(answer):
                    yield line
            finally:
                await answer.aclose()
        except httpx2.ReadTimeout as error:
            raise self._unreachable(error, silent=True) from error
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise self._unreachable(error) from error

    def _request(
        self, call: Call, *, timeout: httpx2.Timeout | None = None, identity: bool = False
    ) -> httpx2.Request:
        headers = {"Accept": call.accept}
        if identity:  # compressing single events only delays them
            headers["Accept-Encoding"] = "identity"
        if call.body is not None:
            headers["Content-Type"] = call.content_type
        return self._client.build_request(
            call.method,
            call.path,
            params=dict(call.parameters),
            content=call.body,
            headers=headers,
            timeout=timeout or httpx2.USE_CLIENT_DEFAULT,
        )

    def _unreachable(self, error: Exception, *, silent: bool = False) -> ApiUnreachableError:
        """Make the error, and log it if it is the first: an outage is one line, not hundreds."""
        cause = _words(error)
        if self._is_reachable and not silent:
            self._is_reachable = False
            _log.warning("API server does not answer", server=self.server, cause=cause)
        problem = catalogue.API_UNREACHABLE.problem(cause=cause, server=self.server)
        return ApiSilentError(problem) if silent else ApiUnreachableError(problem)

    def _reached(self) -> None:
        if not self._is_reachable:
            self._is_reachable = True
            _log.info("API server answers again", server=self.server)


def _load(kubeconfig: Path | None) -> SingleConfig:
    source = KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()
    config = source.get()
    if config is None:
        raise ConfigError("no current context")
    return config


async def _split(answer: httpx2.Response) -> AsyncGenerator[bytes, None]:
    rest = b""
    async for chunk in answer.aiter_raw():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(rest) > _LONGEST_LINE_BYTES:
            raise httpx2.RemoteProtocolError("a line of the watch is longer than 64 MiB")


def _refusal(call: Call, code: int, body: bytes) -> ApiRequestError:
    reason, message = "", ""
    with suppress(msgspec.DecodeError):
        status = STATUS.decode(body)
        reason, message = status.reason, status.message
    refusal = Refusal(status=code, reason=reason, message=message)
    return refused(refusal, subject=call.subject, verb=call.verb)


def _words(error: Exception) -> str:
    """Say what happened, also for errors whose text is empty."""
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error}"
    return str(error) or type(error).__name__
