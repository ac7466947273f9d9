"""Specs of policies, read whole or not at all.

A policy whose spec has a field we do not know, or of another type, means something we cannot
enforce. It must not be enforced in part, so reading it gives a reason instead of a spec.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from ambimesh.kube.decoding import without_nulls
from ambimesh.kube.istio import AuthorizationPolicy, PeerAuthentication
from ambimesh.kube.meta import Part


class Exact(Part, frozen=True, forbid_unknown_fields=True):
    """Base of structs that refuse what they do not know."""


class PolicySelector(Exact, frozen=True):
    """Labels of the workloads a policy is for."""

    match_labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class TargetReference(Exact, frozen=True):
    """An object that a policy is attached to, for waypoints and gateways."""

    group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""


class Source(Exact, frozen=True):
    """Where a request may come from; every field that is set must hold."""

    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()
    trust_domains: tuple[str, ...] = ()
    not_trust_domains: tuple[str, ...] = ()


class From(Exact, frozen=True):
    """One source of a rule."""

    source: Source = Source()


class Operation(Exact, frozen=True):
    """What a request may ask for; every field that is set must hold."""

    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


class To(Exact, frozen=True):
    """One operation of a rule."""

    operation: Operation = Operation()


class When(Exact, frozen=True):
    """One condition of a rule."""

    key: str = ""
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class PolicyRule(Exact, frozen=True):
    """One rule: any source, and any operation, and every condition."""

    from_: tuple[From, ...] = msgspec.field(name="from", default=())
    to: tuple[To, ...] = ()
    when: tuple[When, ...] = ()


class Provider(Exact, frozen=True):
    """The external authorizer of a CUSTOM policy."""

    name: str = ""


class AuthorizationSpec(Exact, frozen=True):
    """The spec of an AuthorizationPolicy. An absent selector differs from an empty one."""

    selector: PolicySelector | None = None
    target_ref: TargetReference | None = None
    target_refs: tuple[TargetReference, ...] = ()
    action: str = "ALLOW"
    provider: Provider | None = None
    rules: tuple[PolicyRule, ...] = ()

    @property
    def targets(self) -> tuple[TargetReference, ...]:
        """What it is attached to; the older single reference counts when the list is empty."""
        if self.target_refs:
            return self.target_refs
        return (self.target_ref,) if self.target_ref else ()


class MutualTls(Exact, frozen=True):
    """Whether plaintext is taken: UNSET, DISABLE, PERMISSIVE or STRICT."""

    mode: str = "UNSET"


class PeerAuthenticationSpec(Exact, frozen=True):
    """The spec of a PeerAuthentication. Ports are those of the workload, as texts."""

    selector: PolicySelector | None = None
    mtls: MutualTls | None = None
    port_level_mtls: Mapping[str, MutualTls] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A spec that cannot be read: why, and what can still be said about whom it is for."""

    reason: str
    selector: Mapping[str, str] | None  # None: the whole namespace
    has_targets: bool


SpecType = TypeVar("SpecType", AuthorizationSpec, PeerAuthenticationSpec)

_TARGETS: Final = ("targetRef", "targetRefs")


def authorization_spec(policy: AuthorizationPolicy) -> AuthorizationSpec | Unreadable:
    """Read the spec of an AuthorizationPolicy."""
    return _read(policy.spec, AuthorizationSpec)


def peer_authentication_spec(policy: PeerAuthentication) -> PeerAuthenticationSpec | Unreadable:
    """Read the spec of a PeerAuthentication."""
    return _read(policy.spec, PeerAuthenticationSpec)


class _RequiredLabels(Exact, frozen=True):
    """A selector that must have labels."""

    match_labels: Mapping[str, str]


def _read(spec: Any, kind: type[SpecType]) -> SpecType | Unreadable:
    try:
        return msgspec.convert(without_nulls({} if spec is None else spec), kind)
    except msgspec.ValidationError as error:
        known = spec if isinstance(spec, dict) else {}
        return Unreadable(
            reason=str(error),
            selector=_labels(known.get("selector")),
            has_targets=any(known.get(name) for name in _TARGETS),
        )


def _labels(selector: Any) -> Mapping[str, str] | None:
    """Read the labels of a selector, or ``None``, which selects more, if that fails."""
    try:
        return msgspec.convert(selector, _RequiredLabels).match_labels
    except msgspec.ValidationError:
        return None
