"""What compiled policies mean to a node proxy. Source: spec/node-proxy.md §9."""

from collections.abc import Iterable
from ipaddress import ip_address

from ambimesh.model.names import PolicyKey
from ambimesh.model.policy import (
    Action,
    Authorization,
    Clause,
    Match,
    MatchKind,
    PolicyScope,
    Rule,
    ServiceAccountMatch,
    StringMatch,
)
from ambimesh.model.workload import IpNetwork, Workload
from support.policy_reference import Connection


def is_admitted(
    authorizations: Iterable[Authorization], workload: Workload, connection: Connection
) -> bool:
    """Decide about a connection to ``workload`` as its node proxy does."""
    listed: set[PolicyKey] = set(workload.authorization_policies)
    authorizations = tuple(authorizations)
    known = {policy.key for policy in authorizations}
    assert listed <= known, "a workload lists a policy that does not exist"
    mine = [
        policy
        for policy in authorizations
        if policy.key in listed
        or policy.scope is PolicyScope.GLOBAL
        or (policy.scope is PolicyScope.NAMESPACE and policy.namespace == workload.namespace)
    ]
    matching = {p.key for p in mine if any(_rule(rule, connection) for rule in p.any_of)}
    if any(policy.key in matching for policy in mine if policy.action is Action.DENY):
        return False
    allowing = [policy for policy in mine if policy.action is Action.ALLOW]
    return not allowing or any(policy.key in matching for policy in allowing)


def _rule(rule: Rule, connection: Connection) -> bool:
    return all(_clause(clause, connection) for clause in rule.all_of)


def _clause(clause: Clause, connection: Connection) -> bool:
    return not clause.any_of or any(_match(match, connection) for match in clause.any_of)


def _match(match: Match, connection: Connection) -> bool:
    if match == Match():
        return False
    caller = connection.source
    principal = caller.principal if caller else None
    return (
        _strings(match.namespaces, match.not_namespaces, caller.namespace if caller else "")
        and _strings(match.principals, match.not_principals, principal)
        and _ips(match.source_ips, match.not_source_ips, connection.source_ip)
        and _ips(match.destination_ips, match.not_destination_ips, connection.destination_ip)
        and (not match.destination_ports or connection.port in match.destination_ports)
        and connection.port not in match.not_destination_ports
        and (not match.service_accounts or _accounts(match.service_accounts, connection))
        and not _accounts(match.not_service_accounts, connection)
    )


def _strings(
    wanted: Iterable[StringMatch], unwanted: Iterable[StringMatch], text: str | None
) -> bool:
    wanted = tuple(wanted)
    if wanted and not any(_string(pattern, text) for pattern in wanted):
        return False
    return not any(_string(pattern, text) for pattern in unwanted)


def _string(pattern: StringMatch, text: str | None) -> bool:
    if text is None:
        return False
    match pattern.kind:
        case MatchKind.EXACT:
            return text == pattern.value
        case MatchKind.PREFIX:
            return text.startswith(pattern.value)
        case MatchKind.SUFFIX:
            return text.endswith(pattern.value)
        case MatchKind.PRESENCE:
            return bool(text)


def _ips(wanted: tuple[IpNetwork, ...], unwanted: tuple[IpNetwork, ...], text: str) -> bool:
    address = ip_address(text)
    if wanted and not any(address in network for network in wanted):
        return False
    return not any(address in network for network in unwanted)


def _accounts(accounts: Iterable[ServiceAccountMatch], connection: Connection) -> bool:
    caller = connection.source
    return caller is not None and any(
        (account.namespace, account.service_account) == (caller.namespace, caller.service_account)
        for account in accounts
    )
