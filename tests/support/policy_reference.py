"""What AuthorizationPolicy and PeerAuthentication mean, straight from the manifests.

Written from the API's documentation and design D5, not from the compiler: it shares no code
with it, and is what compiler, matcher and lab are compared with.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from ambimesh.model.identity import Identity

Manifest = Mapping[str, Any]

L4_SOURCE = {
    "principals",
    "notPrincipals",
    "namespaces",
    "notNamespaces",
    "serviceAccounts",
    "notServiceAccounts",
    "ipBlocks",
    "notIpBlocks",
}
L4_OPERATION = {"ports", "notPorts"}
L4_KEYS = {
    "source.ip",
    "source.namespace",
    "source.principal",
    "destination.ip",
    "destination.port",
}


@dataclass(frozen=True, kw_only=True)
class Connection:
    """The facts of one connection, as the destination's node proxy sees them."""

    source: Identity | None  # None: plaintext
    source_ip: str
    destination_ip: str
    port: int  # of the workload


@dataclass(frozen=True, kw_only=True)
class Destination:
    """The workload that is connected to."""

    namespace: str
    labels: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Policies:
    """Every policy object of a mesh."""

    authorization: tuple[Manifest, ...] = ()
    peer_authentication: tuple[Manifest, ...] = ()
    root_namespace: str = "istio-system"


def is_allowed(policies: Policies, destination: Destination, connection: Connection) -> bool:
    """Decide about a connection."""
    if connection.source is None and is_strict(policies, destination, connection.port):
        return False
    mine = [p for p in policies.authorization if _concerns(p, destination, policies)]
    if any(not is_enforceable(policy) for policy in mine):
        return False
    denying = [p for p in mine if _action(p) == "DENY"]
    allowing = [p for p in mine if _action(p) == "ALLOW"]
    if any(_matches(policy, connection) for policy in denying):
        return False
    return not allowing or any(_matches(policy, connection) for policy in allowing)


def is_strict(policies: Policies, destination: Destination, port: int) -> bool:
    """Decide whether plaintext is refused on a port."""
    root = policies.root_namespace
    ordered = sorted(policies.peer_authentication, key=_age)
    own = [p for p in ordered if _namespace(p) == destination.namespace]
    modes = []
    if destination.namespace != root:
        selecting = [p for p in own if _selector(p) and _selected(p, destination)]
        for policy in selecting[:1]:
            ports = policy["spec"].get("portLevelMtls", {})
            modes += [ports.get(str(port), {}).get("mode"), _mode(policy)]
        modes += [_mode(policy) for policy in own if not _selector(policy)][:1]
    whole_mesh = [p for p in ordered if _namespace(p) == root and not _selector(p)]
    modes += [_mode(policy) for policy in whole_mesh[:1]]
    decided = [mode for mode in modes if mode not in {None, "UNSET"}]
    return bool(decided) and decided[0] == "STRICT"


def is_enforceable(policy: Manifest) -> bool:
    """Tell whether a node proxy can check everything a policy says; if not, it denies."""
    spec = policy.get("spec") or {}
    if spec.get("action", "ALLOW") not in {"ALLOW", "DENY"}:
        return False
    for rule in spec.get("rules", ()):
        for each in rule.get("from", ()):
            if not each["source"] or not each["source"].keys() <= L4_SOURCE:
                return False
        for each in rule.get("to", ()):
            if not each["operation"] or not each["operation"].keys() <= L4_OPERATION:
                return False
        if not {when["key"] for when in rule.get("when", ())} <= L4_KEYS:
            return False
    return True


def _concerns(policy: Manifest, destination: Destination, policies: Policies) -> bool:
    spec = policy.get("spec") or {}
    if spec.get("targetRefs") or spec.get("targetRef") or _action(policy) == "AUDIT":
        return False
    if policy["metadata"].get("annotations", {}).get("istio.io/dry-run") == "true":
        return False
    if _namespace(policy) not in {destination.namespace, policies.root_namespace}:
        return False
    return _selected(policy, destination)


def _matches(policy: Manifest, connection: Connection) -> bool:
    rules = (policy.get("spec") or {}).get("rules", ())
    return any(_rule(rule, connection, _namespace(policy)) for rule in rules)


def _rule(rule: Manifest, connection: Connection, namespace: str) -> bool:
    sources, operations = rule.get("from", ()), rule.get("to", ())
    if sources and not any(_source(each["source"], connection, namespace) for each in sources):
        return False
    if operations and not any(_operation(each["operation"], connection) for each in operations):
        return False
    return all(_condition(when, connection) for when in rule.get("when", ()))


def _source(source: Manifest, connection: Connection, namespace: str) -> bool:
    caller = connection.source
    return (
        _principal(source.get("principals"), source.get("notPrincipals"), caller)
        and _caller_namespace(source.get("namespaces"), source.get("notNamespaces"), caller)
        and _account(source, caller, namespace)
        and _address(source.get("ipBlocks"), source.get("notIpBlocks"), connection.source_ip)
    )


def _operation(operation: Manifest, connection: Connection) -> bool:
    return _port(operation.get("ports"), operation.get("notPorts"), connection.port)


def _condition(when: Manifest, connection: Connection) -> bool:
    wanted, unwanted = when.get("values"), when.get("notValues")
    match when["key"]:
        case "source.ip":
            return _address(wanted, unwanted, connection.source_ip)
        case "source.namespace":
            return _caller_namespace(wanted, unwanted, connection.source)
        case "source.principal":
            return _principal(wanted, unwanted, connection.source)
        case "destination.ip":
            return _address(wanted, unwanted, connection.destination_ip)
        case "destination.port":
            return _port(wanted, unwanted, connection.port)
    raise AssertionError(when["key"])


Values = Iterable[str] | None


def _principal(wanted: Values, unwanted: Values, caller: Identity | None) -> bool:
    name = caller.principal if caller is not None else ""
    return _texts(wanted, unwanted, name)


def _caller_namespace(wanted: Values, unwanted: Values, caller: Identity | None) -> bool:
    return _texts(wanted, unwanted, caller.namespace if caller is not None else "")


def _account(source: Manifest, caller: Identity | None, namespace: str) -> bool:
    def is_caller(value: str) -> bool:
        where, name = value.split("/") if "/" in value else (namespace, value)
        return caller is not None and (where, name) == (caller.namespace, caller.service_account)

    wanted, unwanted = source.get("serviceAccounts"), source.get("notServiceAccounts")
    if wanted and not any(is_caller(value) for value in wanted):
        return False
    return not any(is_caller(value) for value in unwanted or ())


def _address(wanted: Values, unwanted: Values, address: str) -> bool:
    def contains(value: str) -> bool:
        return ip_address(address) in ip_network(value, strict=False)

    if wanted and not any(contains(value) for value in wanted):
        return False
    return not any(contains(value) for value in unwanted or ())


def _port(wanted: Values, unwanted: Values, port: int) -> bool:
    if wanted and str(port) not in wanted:
        return False
    return str(port) not in (unwanted or ())


def _texts(wanted: Values, unwanted: Values, text: str) -> bool:
    if wanted and not any(_text(pattern, text) for pattern in wanted):
        return False
    return not any(_text(pattern, text) for pattern in unwanted or ())


def _text(pattern: str, text: str) -> bool:
    if not text:  # nobody matches nothing
        return False
    if pattern == "*":
        return True
    if pattern.startswith("*"):
        return text.endswith(pattern[1:])
    if pattern.endswith("*"):
        return text.startswith(pattern[:-1])
    return text == pattern


def _selected(policy: Manifest, destination: Destination) -> bool:
    labels = destination.labels
    return all(labels.get(key) == value for key, value in _selector(policy).items())


def _selector(policy: Manifest) -> Mapping[str, str]:
    selector = (policy.get("spec") or {}).get("selector") or {}
    found: Mapping[str, str] = selector.get("matchLabels") or {}
    return found


def _action(policy: Manifest) -> str:
    return str((policy.get("spec") or {}).get("action", "ALLOW"))


def _mode(policy: Manifest) -> str | None:
    mtls = (policy.get("spec") or {}).get("mtls") or {}
    mode: str | None = mtls.get("mode")
    return mode


def _namespace(policy: Manifest) -> str:
    return str(policy["metadata"]["namespace"])


def _age(policy: Manifest) -> tuple[str, str]:
    meta = policy["metadata"]
    return (meta.get("creationTimestamp", ""), meta["name"])
