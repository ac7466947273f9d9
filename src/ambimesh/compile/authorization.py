"""AuthorizationPolicy objects to what node proxies enforce.

Whole or not at all (design D5): a policy that says anything a node proxy cannot check is
replaced by one that denies everything to the workloads it selects, and its status says so.
Source: spec/control-plane.md §4.1.
"""

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

from ambimesh.compile.condition import Verdict
from ambimesh.compile.peer_authentication import CONVERTED_PREFIX, STATIC_STRICT
from ambimesh.compile.selection import Labels
from ambimesh.kube.istio import AuthorizationPolicy
from ambimesh.kube.policy import (
    AuthorizationSpec,
    Operation,
    PolicyRule,
    Source,
    Unreadable,
    When,
    authorization_spec,
)
from ambimesh.model.mesh import Mesh
from ambimesh.model.policy import (
    EVERYTHING,
    Action,
    Authorization,
    Clause,
    Match,
    PolicyScope,
    Rule,
    ServiceAccountMatch,
    StringMatch,
)
from ambimesh.model.workload import IpNetwork

ZTUNNEL_ACCEPTED: Final = "ZtunnelAccepted"
WAYPOINT_ACCEPTED: Final = "WaypointAccepted"
RESERVED_NAMES: Final = (STATIC_STRICT, CONVERTED_PREFIX)
DRY_RUN: Final = "istio.io/dry-run"

_MAPPED_BITS: Final = 96  # ::ffff:0:0/96, RFC 4291 §2.5.5.2
_ACTIONS: Final = {"ALLOW": Action.ALLOW, "DENY": Action.DENY}
_L7_SOURCE: Final = {
    "request_principals": "requestPrincipals",
    "not_request_principals": "notRequestPrincipals",
    "remote_ip_blocks": "remoteIpBlocks",
    "not_remote_ip_blocks": "notRemoteIpBlocks",
    "trust_domains": "trustDomains",
    "not_trust_domains": "notTrustDomains",
}
_L7_OPERATION: Final = {
    "hosts": "hosts",
    "not_hosts": "notHosts",
    "methods": "methods",
    "not_methods": "notMethods",
    "paths": "paths",
    "not_paths": "notPaths",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledPolicy:
    """What became of one policy object.

    ``selector`` is for policies that workloads list: ``None`` when it is found by its scope.
    """

    authorization: Authorization | None
    selector: Labels | None
    verdict: Verdict


class UnsupportedError(Exception):
    """A policy says something that a node proxy cannot check; the text says what."""


def compile_authorization(policy: AuthorizationPolicy, mesh: Mesh) -> CompiledPolicy:
    """Compile one policy. Pure and total: whatever a manifest says has a result."""
    spec = authorization_spec(policy)
    verdict = _unenforced(policy, spec)
    if verdict is not None:
        return CompiledPolicy(authorization=None, selector=None, verdict=verdict)
    if isinstance(spec, Unreadable):
        return _denied(policy, spec.selector, mesh, _verdict("Invalid", _replaced(spec.reason)))
    selector = spec.selector.match_labels if spec.selector else None
    try:
        action = _action(spec.action)
        rules = tuple(_rule(rule, policy.metadata.namespace) for rule in spec.rules)
    except UnsupportedError as error:
        return _denied(policy, selector, mesh, _verdict("UnsupportedValue", _replaced(str(error))))
    return CompiledPolicy(
        authorization=_authorization(policy, selector, mesh, action, rules),
        selector=selector,
        verdict=Verdict(
            type=ZTUNNEL_ACCEPTED,
            accepted=True,
            reason="Accepted",
            message="enforced by the node proxies of the workloads it selects",
        ),
    )


def _unenforced(
    policy: AuthorizationPolicy, spec: AuthorizationSpec | Unreadable
) -> Verdict | None:
    """Judge the policies that node proxies rightly do not get; ``None`` for the others."""
    if policy.metadata.name.startswith(RESERVED_NAMES):
        return _verdict("Invalid", "the name is reserved; not enforced, so rename it")
    if isinstance(spec, Unreadable):
        return _for_waypoints("Invalid", spec.reason) if spec.has_targets else None
    if spec.targets:
        return _for_waypoints("Unsupported", "waypoints are not part of this release")
    if policy.metadata.annotations.get(DRY_RUN, "").lower() == "true":
        return _verdict("UnsupportedValue", "dry run is not supported; not enforced")
    if spec.action == "AUDIT":
        return _verdict("UnsupportedValue", "action AUDIT has no effect on connections")
    return None


def _replaced(reason: str) -> str:
    return f"cannot be enforced ({reason}); every connection to what it selects is denied instead"


def _verdict(reason: str, message: str) -> Verdict:
    return Verdict(type=ZTUNNEL_ACCEPTED, accepted=False, reason=reason, message=message)


def _for_waypoints(reason: str, message: str) -> Verdict:
    return Verdict(
        type=WAYPOINT_ACCEPTED,
        accepted=False,
        reason=reason,
        message=f"attached to a waypoint or gateway, and not enforced: {message}",
    )


def _denied(
    policy: AuthorizationPolicy, selector: Labels | None, mesh: Mesh, verdict: Verdict
) -> CompiledPolicy:
    denial = _authorization(policy, selector, mesh, Action.DENY, (EVERYTHING,))
    return CompiledPolicy(authorization=denial, selector=selector, verdict=verdict)


def _authorization(
    policy: AuthorizationPolicy,
    selector: Labels | None,
    mesh: Mesh,
    action: Action,
    rules: tuple[Rule, ...],
) -> Authorization:
    meta = policy.metadata
    if selector is not None:
        scope = PolicyScope.WORKLOAD_SELECTOR
    elif meta.namespace == mesh.root_namespace:
        scope = PolicyScope.GLOBAL
    else:
        scope = PolicyScope.NAMESPACE
    return Authorization(
        name=meta.name, namespace=meta.namespace, scope=scope, action=action, any_of=rules
    )


def _action(action: str) -> Action:
    if action not in _ACTIONS:
        raise UnsupportedError(f"action {action}")
    return _ACTIONS[action]


def _rule(rule: PolicyRule, namespace: str) -> Rule:
    clauses = []
    if rule.to:
        clauses.append(Clause(tuple(_operation(to.operation) for to in rule.to)))
    if rule.from_:
        clauses.append(Clause(tuple(_source(from_.source, namespace) for from_ in rule.from_)))
    clauses += [Clause((_condition(when),)) for when in rule.when]
    return Rule(tuple(clauses))


def _operation(operation: Operation) -> Match:
    _refuse_fields(operation, _L7_OPERATION, "operation")
    return _not_empty(
        Match(
            destination_ports=_ports(operation.ports),
            not_destination_ports=_ports(operation.not_ports),
        ),
        "an operation",
    )


def _source(source: Source, namespace: str) -> Match:
    _refuse_fields(source, _L7_SOURCE, "source")
    match = Match(
        namespaces=_strings(source.namespaces),
        not_namespaces=_strings(source.not_namespaces),
        principals=_principals(source.principals),
        not_principals=_principals(source.not_principals),
        source_ips=_networks(source.ip_blocks),
        not_source_ips=_networks(source.not_ip_blocks),
        service_accounts=_accounts(source.service_accounts, namespace),
        not_service_accounts=_accounts(source.not_service_accounts, namespace),
    )
    return _not_empty(match, "a source")


def _condition(when: When) -> Match:
    values, absent = when.values, when.not_values
    match when.key:
        case "source.ip":
            match = Match(source_ips=_networks(values), not_source_ips=_networks(absent))
        case "source.namespace":
            match = Match(namespaces=_strings(values), not_namespaces=_strings(absent))
        case "source.principal":
            match = Match(principals=_principals(values), not_principals=_principals(absent))
        case "destination.ip":
            match = Match(destination_ips=_networks(values), not_destination_ips=_networks(absent))
        case "destination.port":
            match = Match(destination_ports=_ports(values), not_destination_ports=_ports(absent))
        case _:
            raise UnsupportedError(f"condition on {when.key}")
    return _not_empty(match, f"the condition on {when.key}")


def _refuse_fields(part: Source | Operation, fields: dict[str, str], place: str) -> None:
    used = [name for field, name in fields.items() if getattr(part, field)]
    if used:
        raise UnsupportedError(f"{place} {', '.join(used)}")


def _not_empty(match: Match, place: str) -> Match:
    """Refuse a match without values: it would never hold, which no author means."""
    if match == Match():
        raise UnsupportedError(f"{place} without any value")
    return match


def _strings(patterns: tuple[str, ...]) -> tuple[StringMatch, ...]:
    if "" in patterns:
        raise UnsupportedError("an empty value")
    return tuple(StringMatch.parse(pattern) for pattern in patterns)


def _principals(patterns: tuple[str, ...]) -> tuple[StringMatch, ...]:
    for pattern in patterns:
        if "://" in pattern:  # it would never match, so a DENY would be none
            raise UnsupportedError(f"principal {pattern}: written without the scheme spiffe://")
    return _strings(patterns)


def _ports(values: tuple[str, ...]) -> tuple[int, ...]:
    for value in values:
        if not (value.isascii() and value.isdigit() and 0 < int(value) < 65536):
            raise UnsupportedError(f"port {value}")
    return tuple(int(value) for value in values)


def _networks(values: tuple[str, ...]) -> tuple[IpNetwork, ...]:
    try:
        return tuple(_canonical(ip_network(value, strict=False)) for value in values)
    except ValueError as error:
        raise UnsupportedError(f"address range: {error}") from error


def _canonical(network: IpNetwork) -> IpNetwork:
    """Write IPv4 addresses in IPv6 form as what they are, as connections have them."""
    if isinstance(network, IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def _accounts(values: tuple[str, ...], namespace: str) -> tuple[ServiceAccountMatch, ...]:
    accounts = []
    for value in values:
        first, slash, second = value.partition("/")
        own = (first, second) if slash else (namespace, first)
        if not all(own) or "/" in second or "*" in value:
            raise UnsupportedError(f"service account {value}")
        accounts.append(ServiceAccountMatch(namespace=own[0], service_account=own[1]))
    return tuple(accounts)
