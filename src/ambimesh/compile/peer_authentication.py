"""PeerAuthentication objects to what node proxies enforce.

Node proxies know no modes, only policies: STRICT is a DENY of connections without identity.
DISABLE counts as PERMISSIVE, as node proxies always take HBONE.
Source: spec/control-plane.md §4.2 and §4.3.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ambimesh.compile.condition import Verdict
from ambimesh.compile.selection import Labels, selects
from ambimesh.kube.istio import PeerAuthentication
from ambimesh.kube.policy import PeerAuthenticationSpec, Unreadable, peer_authentication_spec
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import PolicyKey, policy_key
from ambimesh.model.policy import (
    PRESENT,
    Action,
    Authorization,
    Clause,
    Match,
    PolicyScope,
    Rule,
)

STATIC_STRICT: Final = "istio_converted_static_strict"
CONVERTED_PREFIX: Final = "converted_peer_authentication_"

_ENFORCED: Final = Verdict(
    type="ZtunnelAccepted",
    accepted=True,
    reason="Accepted",
    message="enforced by the node proxies of the workloads it selects",
)
_IGNORED: Final = Verdict(
    type="ZtunnelAccepted",
    accepted=False,
    reason="UnsupportedValue",
    message="a selector in the root namespace selects nothing; write it in the workloads' namespace",
)
_NO_IDENTITY: Final = Clause((Match(not_principals=(PRESENT,)),))


class Mode(StrEnum):
    """What a PeerAuthentication says about plaintext."""

    UNSET = "UNSET"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRule:
    """One PeerAuthentication, read. One that cannot be read is STRICT for all it selects."""

    name: str
    namespace: str
    age_key: tuple[str, str, str]
    mode: Mode
    selector: Labels | None = None  # None: the namespace, or the mesh in the root namespace
    ports: Mapping[int, Mode] = field(default_factory=dict)  # without UNSET
    verdict: Verdict

    @property
    def converted_key(self) -> PolicyKey:
        """The key of the policy that its port exceptions need."""
        return policy_key(self.namespace, CONVERTED_PREFIX + self.name)


def read_peer_authentication(item: PeerAuthentication, mesh: Mesh) -> PeerRule:
    """Read one object. Pure and total."""
    spec = peer_authentication_spec(item)
    try:
        if isinstance(spec, Unreadable):
            return _strict(item, spec.selector, spec.reason)
        mode = _mode(spec.mtls.mode if spec.mtls else "UNSET")
        ports = {_port(port): _mode(mtls.mode) for port, mtls in spec.port_level_mtls.items()}
    except ValueError as error:
        return _strict(item, _selector(spec), str(error))
    selector = _selector(spec) or None  # one without labels selects everything, like none
    if ports and selector is None:
        return _strict(item, None, "portLevelMtls needs a selector with labels")
    ignored = selector is not None and item.metadata.namespace == mesh.root_namespace
    return PeerRule(
        name=item.metadata.name,
        namespace=item.metadata.namespace,
        age_key=item.age_key,
        mode=mode,
        selector=selector,
        ports={port: mode for port, mode in ports.items() if mode is not Mode.UNSET},
        verdict=_IGNORED if ignored else _ENFORCED,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRules:
    """The rules that can concern the workloads of one namespace, the winners chosen.

    Invariants: of several for the same thing the oldest holds. A rule with a selector in the
    root namespace concerns nobody.
    """

    root_namespace: str
    mesh: PeerRule | None
    namespace: PeerRule | None
    workloads: tuple[PeerRule, ...] = ()  # the oldest first

    @property
    def parent_is_strict(self) -> bool:
        """Whether workloads without a rule of their own refuse plaintext."""
        strict = self.mesh is not None and self.mesh.mode is Mode.STRICT
        if self.namespace is not None and self.namespace.mode is not Mode.UNSET:
            strict = self.namespace.mode is Mode.STRICT
        return strict


def peer_rules(rules: Iterable[PeerRule], namespace: str, mesh: Mesh) -> PeerRules:
    """Choose the rules for ``namespace`` among those of it and of the root namespace."""
    ordered = sorted(rules, key=lambda rule: rule.age_key)
    root = mesh.root_namespace
    whole = [rule for rule in ordered if rule.selector is None]
    return PeerRules(
        root_namespace=root,
        mesh=next((r for r in whole if r.namespace == root), None),
        namespace=next((r for r in whole if r.namespace == namespace != root), None),
        workloads=tuple(r for r in ordered if r.selector and r.namespace == namespace != root),
    )


def static_strict(mesh: Mesh) -> Authorization:
    """Give the policy that workloads list which refuse plaintext."""
    return Authorization(
        name=STATIC_STRICT,
        namespace=mesh.root_namespace,
        scope=PolicyScope.WORKLOAD_SELECTOR,
        action=Action.DENY,
        any_of=(Rule((_NO_IDENTITY,)),),
    )


def convert(rule: PeerRule, rules: PeerRules) -> Authorization | None:
    """Make the policy for a rule with port exceptions, or ``None`` when none is needed."""
    alternatives = _port_rules(rule, _is_strict(rule, rules)) if rule.selector else ()
    if not alternatives:
        return None
    return Authorization(
        name=CONVERTED_PREFIX + rule.name,
        namespace=rule.namespace,
        scope=PolicyScope.WORKLOAD_SELECTOR,
        action=Action.DENY,
        any_of=alternatives,
    )


def peer_policies(rules: PeerRules, labels: Labels) -> tuple[PolicyKey, ...]:
    """List the policies that a workload with ``labels`` needs, in the order of the wire."""
    own = next((r for r in rules.workloads if selects(r.selector or {}, labels)), None)
    if own is not None and convert(own, rules) is not None:
        return (own.converted_key,)
    strict = rules.parent_is_strict if own is None else _is_strict(own, rules)
    return (policy_key(rules.root_namespace, STATIC_STRICT),) if strict else ()


def _is_strict(rule: PeerRule, rules: PeerRules) -> bool:
    """Tell whether ports that ``rule`` does not name refuse plaintext."""
    return rules.parent_is_strict if rule.mode is Mode.UNSET else rule.mode is Mode.STRICT


def _port_rules(rule: PeerRule, strict: bool) -> tuple[Rule, ...]:
    exceptions = sorted(p for p, mode in rule.ports.items() if (mode is Mode.STRICT) != strict)
    if not exceptions:
        return ()
    if strict:  # deny plaintext unless the port is excepted: every clause must hold
        clauses = [Clause((Match(not_destination_ports=(port,)),)) for port in exceptions]
        return (Rule((*clauses, _NO_IDENTITY)),)
    match = [Match(not_principals=(PRESENT,), destination_ports=(port,)) for port in exceptions]
    return tuple(Rule((Clause((one,)),)) for one in match)


def _mode(text: str) -> Mode:
    return Mode.PERMISSIVE if text == "DISABLE" else Mode(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise ValueError(f"port {text}")
    return int(text)


def _selector(spec: PeerAuthenticationSpec | Unreadable) -> Labels | None:
    if isinstance(spec, Unreadable):
        return spec.selector
    return spec.selector.match_labels if spec.selector else None


def _strict(item: PeerAuthentication, selector: Labels | None, reason: str) -> PeerRule:
    message = f"cannot be enforced ({reason}); plaintext is refused instead for what it selects"
    verdict = Verdict(type="ZtunnelAccepted", accepted=False, reason="Invalid", message=message)
    return PeerRule(
        name=item.metadata.name,
        namespace=item.metadata.namespace,
        age_key=item.age_key,
        mode=Mode.STRICT,
        selector=selector or None,
        verdict=verdict,
    )
