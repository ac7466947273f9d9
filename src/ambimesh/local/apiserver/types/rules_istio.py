"""Rules of Istio's kinds. Source: the CEL rules of its CRDs, version 1.31.

What a policy or route *means*, and whether we can honour it, the control plane judges; here is
only what Istio's own API server would not store.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ambimesh.local.apiserver.types import cause as causes
from ambimesh.local.apiserver.types.cause import Cause
from ambimesh.local.apiserver.types.reading import items, member, members, objects, text

JsonObject = dict[str, Any]


def _attachment(obj: JsonObject) -> Iterator[Cause]:
    """A policy has a selector or targets, never both, and targets only its own namespace."""
    spec = members(obj, "spec")
    ways = [way for way in ("selector", "targetRef", "targetRefs") if spec.get(way) is not None]
    if len(ways) > 1:
        yield causes.invalid("spec", ways, "only one of targetRefs or selector can be set")
    targets = [("spec.targetRef", members(spec, "targetRef"))]
    for index, target in enumerate(objects(spec, "targetRefs")):
        targets.append((f"spec.targetRefs[{index}]", target))
    for path, target in targets:
        if target.get("namespace"):
            why = "cross namespace referencing is not currently supported"
            yield causes.invalid(f"{path}.namespace", target["namespace"], why)
    yield from _no_wildcards(members(spec, "selector", "matchLabels"), "spec.selector.matchLabels")


def _no_wildcards(labels: JsonObject, path: str) -> Iterator[Cause]:
    for name, value in labels.items():
        if not name or "*" in f"{name}{value or ''}":
            yield causes.invalid(path, {name: value}, "a label is matched whole, without wildcards")


def _authorization_policy(policy: JsonObject) -> Iterator[Cause]:
    yield from _attachment(policy)
    for number, rule in enumerate(objects(policy, "spec", "rules")):
        for place, origin in enumerate(objects(rule, "from")):
            source = members(origin, "source")
            said = {name for name, value in source.items() if value is not None}
            others = {"principals", "notPrincipals", "namespaces", "notNamespaces"}
            if said & {"serviceAccounts", "notServiceAccounts"} and said & others:
                why = "cannot set serviceAccounts with namespaces or principals"
                field = f"spec.rules[{number}].from[{place}].source"
                yield causes.invalid(field, sorted(said), why)


def _peer_authentication(policy: JsonObject) -> Iterator[Cause]:
    yield from _attachment(policy)
    spec = members(policy, "spec")
    ports = member(spec, "portLevelMtls")
    if ports is not None and not members(spec, "selector", "matchLabels"):
        yield causes.invalid("spec.portLevelMtls", sorted(ports), "portLevelMtls requires selector")
    for port in ports or ():
        if not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
            yield causes.invalid("spec.portLevelMtls", port, "port must be between 1-65535")


def _request_authentication(policy: JsonObject) -> Iterator[Cause]:
    yield from _attachment(policy)
    for index, rule in enumerate(objects(policy, "spec", "jwtRules")):
        field = f"spec.jwtRules[{index}]"
        keys = [name for name in ("jwks", "jwksUri", "jwks_uri") if rule.get(name) is not None]
        if len(keys) > 1:
            yield causes.invalid(field, keys, "only one of jwks or jwksUri can be set")
        for name in ("jwksUri", "jwks_uri"):
            address = text(rule, name)
            if address and not address.startswith(("http://", "https://")):
                why = "url must have scheme http:// or https://"
                yield causes.invalid(f"{field}.{name}", address, why)


def _service_entry(entry: JsonObject) -> Iterator[Cause]:
    spec = members(entry, "spec")
    resolution = text(spec, "resolution", default="NONE")
    endpoints = objects(spec, "endpoints")
    for index, host in enumerate(items(spec, "hosts")):
        if host == "*":
            yield causes.invalid(f"spec.hosts[{index}]", host, "hostname cannot be wildcard")
    if spec.get("workloadSelector") is not None and spec.get("endpoints") is not None:
        why = "only one of workloadSelector or endpoints can be set"
        yield causes.invalid("spec", resolution, why)
    if resolution not in ("NONE", "STATIC") and any("/" in a for a in items(spec, "addresses")):
        why = "CIDR addresses are allowed only for NONE/STATIC resolution types"
        yield causes.invalid("spec.addresses", items(spec, "addresses"), why)
    if resolution == "NONE" and spec.get("endpoints") is not None:
        yield causes.invalid("spec.endpoints", len(endpoints), "NONE mode cannot set endpoints")
    if resolution == "DNS_ROUND_ROBIN" and len(endpoints) > 1:
        why = "DNS_ROUND_ROBIN mode cannot have multiple endpoints"
        yield causes.invalid("spec.endpoints", len(endpoints), why)
    numbers = [port.get("number") for port in objects(spec, "ports")]
    for index, number in enumerate(numbers):
        if number in numbers[:index]:
            yield causes.duplicate(f"spec.ports[{index}].number", number)
    for index, endpoint in enumerate(endpoints):
        yield from _endpoint(endpoint, f"spec.endpoints[{index}]")


def _workload_entry(entry: JsonObject) -> Iterator[Cause]:
    yield from _endpoint(members(entry, "spec"), "spec")


def _endpoint(endpoint: JsonObject, path: str) -> Iterator[Cause]:
    address = text(endpoint, "address")
    if not address and not endpoint.get("network"):
        yield causes.required(f"{path}.address", "address is required")
    if address.startswith("unix://") and endpoint.get("ports"):
        yield causes.invalid(f"{path}.ports", address, "UDS may not include ports")


ISTIO_RULES: Mapping[str, Callable[[JsonObject], Iterator[Cause]]] = {
    "AuthorizationPolicy": _authorization_policy,
    "PeerAuthentication": _peer_authentication,
    "RequestAuthentication": _request_authentication,
    "ServiceEntry": _service_entry,
    "Telemetry": _attachment,
    "WasmPlugin": _attachment,
    "WorkloadEntry": _workload_entry,
}
