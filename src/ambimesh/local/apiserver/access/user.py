"""Who makes a request, as far as a token told us."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

AUTHENTICATED = "system:authenticated"
MASTERS = "system:masters"
NODES = "system:nodes"
ACCOUNTS = "system:serviceaccounts"

_ACCOUNT_PREFIX = "system:serviceaccount:"
_NODE_PREFIX = "system:node:"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An authenticated caller."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def node(self) -> str:
        """The node this caller is the agent of; empty when it is not one."""
        is_agent = NODES in self.groups and self.name.startswith(_NODE_PREFIX)
        return self.name.removeprefix(_NODE_PREFIX) if is_agent else ""

    def body(self) -> dict[str, Any]:
        """Give the wire form, ``UserInfo`` of authentication.k8s.io/v1."""
        body: dict[str, Any] = {"username": self.name, "groups": list(self.groups)}
        if self.uid:
            body["uid"] = self.uid
        if self.extra:
            body["extra"] = {key: list(values) for key, values in self.extra.items()}
        return body


def account_name(namespace: str, name: str) -> str:
    """Give the user name of a service account."""
    return f"{_ACCOUNT_PREFIX}{namespace}:{name}"


class Account(NamedTuple):
    """A service account."""

    namespace: str
    name: str


def read_account(name: str) -> Account | None:
    """Give the service account that a user name means; None when it means none."""
    if not name.startswith(_ACCOUNT_PREFIX):
        return None
    namespace, _, account = name.removeprefix(_ACCOUNT_PREFIX).partition(":")
    return Account(namespace, account)


def account_groups(namespace: str) -> tuple[str, ...]:
    """Give the groups of a service account in a namespace."""
    return (ACCOUNTS, f"{ACCOUNTS}:{namespace}", AUTHENTICATED)


def node_name(node: str) -> str:
    """Give the user name of the agent of a node."""
    return _NODE_PREFIX + node


def component(name: str) -> User:
    """Give the user that a component's own credential stands for; groups follow from the name."""
    if name.startswith(_NODE_PREFIX):
        return User(name=name, groups=(NODES, AUTHENTICATED))
    if account := read_account(name):
        return User(name=name, groups=account_groups(account.namespace))
    return User(name=name, groups=(MASTERS, AUTHENTICATED))
