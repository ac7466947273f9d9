"""Settings of the control plane. The environment variables are Istio's, with the same meaning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from ambimesh.ca.authority import Lifetimes
from ambimesh.controlplane.duration import parse_duration
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import UsageError
from ambimesh.model.names import DEFAULT_CLUSTER, ClusterId

DEFAULT_NAMESPACE: Final = "istio-system"
DEFAULT_AUDIENCE: Final = "istio-ca"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An address and a port to listen on."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """Read ``HOST:PORT``, an IPv6 host in brackets. Errors: ``UsageError``."""
        host, _, port = text.rpartition(":")
        bare = host.removeprefix("[").removesuffix("]")
        try:
            ip_address(bare)
            number = int(port)
        except ValueError as error:
            raise UsageError(catalogue.LISTEN_ADDRESS_INVALID.problem(text=text)) from error
        if not 0 <= number < 65536:
            raise UsageError(catalogue.LISTEN_ADDRESS_INVALID.problem(text=text))
        return cls(host=bare, port=number)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How changes are gathered before they are compiled and pushed."""

    quiet_seconds: float = 0.05  # a push waits for so long without a change
    longest_seconds: float = 0.1  # but never longer than this
    streams_per_second: float = 100.0  # how fast subscribers may connect


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a control plane is started with."""

    kubeconfig: Path | None
    listen: tuple[Endpoint, ...]
    monitor: Endpoint
    identity: str  # the holder of the leader's lease
    namespace: str = DEFAULT_NAMESPACE
    cluster: ClusterId = DEFAULT_CLUSTER
    trusted_accounts: frozenset[tuple[str, str]] = frozenset(((DEFAULT_NAMESPACE, "ztunnel"),))
    audiences: tuple[str, ...] = (DEFAULT_AUDIENCE,)
    lifetimes: Lifetimes = field(default_factory=Lifetimes)
    serving_addresses: tuple[str, ...] = ()  # besides those listened on
    pacing: Pacing = field(default_factory=Pacing)


def from_environment(
    environment: Mapping[str, str],
    *,
    kubeconfig: Path | None,
    listen: Sequence[str],
    monitor: str,
    hostname: str,
) -> Settings:
    """Join arguments and environment. Errors: ``UsageError`` names the setting."""
    namespace = environment.get("POD_NAMESPACE", DEFAULT_NAMESPACE)
    accounts = environment.get("CA_TRUSTED_NODE_ACCOUNTS", f"{namespace}/ztunnel")
    return Settings(
        kubeconfig=kubeconfig,
        listen=tuple(Endpoint.parse(text) for text in listen),
        monitor=Endpoint.parse(monitor),
        identity=environment.get("POD_NAME", f"controlplane-{hostname}"),
        namespace=namespace,
        cluster=ClusterId(environment.get("CLUSTER_ID", DEFAULT_CLUSTER)),
        trusted_accounts=frozenset(_account(text) for text in _list(accounts)),
        audiences=_list(environment.get("TOKEN_AUDIENCES", DEFAULT_AUDIENCE)),
        lifetimes=Lifetimes(
            default=_duration(environment, "DEFAULT_WORKLOAD_CERT_TTL", Lifetimes().default),
            longest=_duration(environment, "MAX_WORKLOAD_CERT_TTL", Lifetimes().longest),
        ),
        serving_addresses=_list(environment.get("AMBIMESH_SERVING_ADDRESSES", "")),
    )


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _account(text: str) -> tuple[str, str]:
    namespace, _, name = text.partition("/")
    if not namespace or not name:
        raise _invalid("CA_TRUSTED_NODE_ACCOUNTS", f"{text!r} is not <namespace>/<account>")
    return (namespace, name)


def _duration(environment: Mapping[str, str], name: str, default: timedelta) -> timedelta:
    try:
        return parse_duration(environment[name]) if name in environment else default
    except ValueError as error:
        raise _invalid(name, str(error)) from error


def _invalid(setting: str, cause: str) -> UsageError:
    return UsageError(catalogue.SETTING_INVALID.problem(cause=cause, setting=setting))
