"""L4 authorization as node proxies enforce it. Source: ``istio.security.Authorization``."""

from dataclasses import dataclass
from enum import StrEnum

from ambimesh.model.names import PolicyKey, ResourceName, policy_key
from ambimesh.model.workload import IpNetwork


class PolicyScope(StrEnum):
    """Which workloads a policy is for."""

    GLOBAL = "global"
    NAMESPACE = "namespace"
    WORKLOAD_SELECTOR = "workload selector"  # those that list it


class Action(StrEnum):
    """What happens to a connection that matches."""

    ALLOW = "allow"
    DENY = "deny"


class MatchKind(StrEnum):
    """How the value of a ``StringMatch`` is compared: bytewise, case matters."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    PRESENCE = "presence"  # anything but nothing


@dataclass(frozen=True, slots=True)
class StringMatch:
    """One pattern for a text."""

    kind: MatchKind
    value: str = ""

    @classmethod
    def parse(cls, pattern: str) -> "StringMatch":
        """Read a pattern as policies write it: ``*``, ``*suffix``, ``prefix*`` or exact."""
        if pattern == "*":
            return cls(MatchKind.PRESENCE)
        if pattern.startswith("*"):
            return cls(MatchKind.SUFFIX, pattern[1:])
        if pattern.endswith("*"):
            return cls(MatchKind.PREFIX, pattern[:-1])
        return cls(MatchKind.EXACT, pattern)


PRESENT = StringMatch(MatchKind.PRESENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceAccountMatch:
    """One service account, whatever the trust domain."""

    namespace: str
    service_account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Facts of one connection: all kinds must hold, the values of one kind are alternatives.

    A ``not_`` kind holds when none of its values does. A match without any value never holds.
    """

    namespaces: tuple[StringMatch, ...] = ()
    not_namespaces: tuple[StringMatch, ...] = ()
    principals: tuple[StringMatch, ...] = ()
    not_principals: tuple[StringMatch, ...] = ()
    source_ips: tuple[IpNetwork, ...] = ()
    not_source_ips: tuple[IpNetwork, ...] = ()
    destination_ips: tuple[IpNetwork, ...] = ()
    not_destination_ips: tuple[IpNetwork, ...] = ()
    destination_ports: tuple[int, ...] = ()
    not_destination_ports: tuple[int, ...] = ()
    service_accounts: tuple[ServiceAccountMatch, ...] = ()
    not_service_accounts: tuple[ServiceAccountMatch, ...] = ()


NOTHING = Match()


@dataclass(frozen=True, slots=True)
class Clause:
    """Holds when any of its matches does; without matches, always."""

    any_of: tuple[Match, ...] = ()


@dataclass(frozen=True, slots=True)
class Rule:
    """Holds when all of its clauses do; without clauses, always."""

    all_of: tuple[Clause, ...] = ()


EVERYTHING = Rule()


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """One policy: matches a connection when any of its rules does; without rules, never."""

    name: str
    namespace: str
    scope: PolicyScope
    action: Action
    any_of: tuple[Rule, ...] = ()

    @property
    def key(self) -> PolicyKey:
        """The key by which workloads list it."""
        return policy_key(self.namespace, self.name)

    @property
    def resource_name(self) -> ResourceName:
        """The name of its xDS resource."""
        return ResourceName(self.key)
