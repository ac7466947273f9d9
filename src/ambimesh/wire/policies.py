"""Authorization policies to and from Istio's wire form (WADS)."""

from collections.abc import Iterable
from ipaddress import ip_network
from typing import Final

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
from ambimesh.model.workload import IpNetwork
from ambimesh.wire.generated import authorization_pb2 as pb

_SCOPES: Final = {
    PolicyScope.GLOBAL: pb.GLOBAL,
    PolicyScope.NAMESPACE: pb.NAMESPACE,
    PolicyScope.WORKLOAD_SELECTOR: pb.WORKLOAD_SELECTOR,
}
_ACTIONS: Final = {Action.ALLOW: pb.ALLOW, Action.DENY: pb.DENY}
_SCOPES_READ: Final = {number: scope for scope, number in _SCOPES.items()}
_ACTIONS_READ: Final = {number: action for action, number in _ACTIONS.items()}


def authorization_to_wire(policy: Authorization) -> pb.Authorization:
    """Write a policy. Total."""
    return pb.Authorization(
        name=policy.name,
        namespace=policy.namespace,
        scope=_SCOPES[policy.scope],
        action=_ACTIONS[policy.action],
        rules=[_rule(rule) for rule in policy.any_of],
    )


def authorization_from_wire(message: pb.Authorization) -> Authorization:
    """Read a policy. Errors: ``ValueError`` names what is wrong."""
    if message.scope not in _SCOPES_READ or message.action not in _ACTIONS_READ:
        raise ValueError(f"policy {message.namespace}/{message.name}: unknown scope or action")
    return Authorization(
        name=message.name,
        namespace=message.namespace,
        scope=_SCOPES_READ[message.scope],
        action=_ACTIONS_READ[message.action],
        any_of=tuple(_read_rule(rule) for rule in message.rules),
    )


def _rule(rule: Rule) -> pb.Rule:
    return pb.Rule(clauses=[_clause(clause) for clause in rule.all_of])


def _clause(clause: Clause) -> pb.Clause:
    return pb.Clause(matches=[_match(match) for match in clause.any_of])


def _match(match: Match) -> pb.Match:
    return pb.Match(
        namespaces=_strings(match.namespaces),
        not_namespaces=_strings(match.not_namespaces),
        principals=_strings(match.principals),
        not_principals=_strings(match.not_principals),
        source_ips=_networks(match.source_ips),
        not_source_ips=_networks(match.not_source_ips),
        destination_ips=_networks(match.destination_ips),
        not_destination_ips=_networks(match.not_destination_ips),
        destination_ports=match.destination_ports,
        not_destination_ports=match.not_destination_ports,
        service_accounts=_accounts(match.service_accounts),
        not_service_accounts=_accounts(match.not_service_accounts),
    )


def _strings(patterns: Iterable[StringMatch]) -> list[pb.StringMatch]:
    return [_string(pattern) for pattern in patterns]


def _string(pattern: StringMatch) -> pb.StringMatch:
    match pattern.kind:
        case MatchKind.EXACT:
            return pb.StringMatch(exact=pattern.value)
        case MatchKind.PREFIX:
            return pb.StringMatch(prefix=pattern.value)
        case MatchKind.SUFFIX:
            return pb.StringMatch(suffix=pattern.value)
        case MatchKind.PRESENCE:
            return pb.StringMatch(presence={})


def _networks(networks: Iterable[IpNetwork]) -> list[pb.Address]:
    return [
        pb.Address(address=network.network_address.packed, length=network.prefixlen)
        for network in networks
    ]


def _accounts(accounts: Iterable[ServiceAccountMatch]) -> list[pb.ServiceAccountMatch]:
    return [
        pb.ServiceAccountMatch(namespace=account.namespace, serviceAccount=account.service_account)
        for account in accounts
    ]


def _read_rule(message: pb.Rule) -> Rule:
    return Rule(
        tuple(Clause(tuple(_read_match(m) for m in clause.matches)) for clause in message.clauses)
    )


def _read_match(message: pb.Match) -> Match:
    return Match(
        namespaces=_read_strings(message.namespaces),
        not_namespaces=_read_strings(message.not_namespaces),
        principals=_read_strings(message.principals),
        not_principals=_read_strings(message.not_principals),
        source_ips=_read_networks(message.source_ips),
        not_source_ips=_read_networks(message.not_source_ips),
        destination_ips=_read_networks(message.destination_ips),
        not_destination_ips=_read_networks(message.not_destination_ips),
        destination_ports=tuple(message.destination_ports),
        not_destination_ports=tuple(message.not_destination_ports),
        service_accounts=_read_accounts(message.service_accounts),
        not_service_accounts=_read_accounts(message.not_service_accounts),
    )


def _read_strings(messages: Iterable[pb.StringMatch]) -> tuple[StringMatch, ...]:
    return tuple(_read_string(message) for message in messages)


def _read_string(message: pb.StringMatch) -> StringMatch:
    kind = message.WhichOneof("match_type")
    match kind:
        case "exact" | "prefix" | "suffix":
            return StringMatch(MatchKind(kind), getattr(message, kind))
        case "presence":
            return StringMatch(MatchKind.PRESENCE)
        case _:
            raise ValueError("string match without a kind")


def _read_networks(messages: Iterable[pb.Address]) -> tuple[IpNetwork, ...]:
    return tuple(ip_network((message.address, message.length)) for message in messages)


def _read_accounts(messages: Iterable[pb.ServiceAccountMatch]) -> tuple[ServiceAccountMatch, ...]:
    return tuple(
        ServiceAccountMatch(namespace=m.namespace, service_account=m.serviceAccount)
        for m in messages
    )
