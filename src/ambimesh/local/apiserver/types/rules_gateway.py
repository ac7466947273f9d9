"""Rules of the Gateway API. Source: the CEL rules of its CRDs, version 1.7."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ambimesh.local.apiserver.types import cause as causes
from ambimesh.local.apiserver.types.cause import Cause
from ambimesh.local.apiserver.types.reading import items, member, members, objects, text

JsonObject = dict[str, Any]

_FILTER_MEMBERS = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestMirror": "requestMirror",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "ExtensionRef": "extensionRef",
    "CORS": "cors",
    "ExternalAuth": "externalAuth",
}
_REPEATABLE = ("RequestMirror", "ExtensionRef")
_PATH_TRAPS = ("//", "/./", "/../", "%2f", "%2F", "#")


def _gateway(gateway: JsonObject) -> Iterator[Cause]:
    seen = []
    for index, listener in enumerate(objects(gateway, "spec", "listeners")):
        path = f"spec.listeners[{index}]"
        yield from _listener(listener, path)
        place = [listener.get("port"), listener.get("protocol"), text(listener, "hostname")]
        if place in seen:
            why = "combination of port, protocol and hostname must be unique for each listener"
            yield causes.invalid(path, place, why)
        seen.append(place)


def _listener(listener: JsonObject, path: str) -> Iterator[Cause]:
    protocol = text(listener, "protocol")
    tls = member(listener, "tls")
    mode = text(tls, "mode", default="Terminate")
    if protocol in ("HTTP", "TCP", "UDP") and tls is not None:
        why = "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']"
        yield causes.invalid(f"{path}.tls", protocol, why)
    if protocol == "HTTPS" and mode != "Terminate":
        why = "tls mode must be Terminate for protocol HTTPS"
        yield causes.invalid(f"{path}.tls.mode", mode, why)
    if protocol == "TLS" and tls is None:
        yield causes.required(f"{path}.tls", "tls mode must be set for protocol TLS")
    if protocol in ("TCP", "UDP") and listener.get("hostname"):
        why = "hostname must not be specified for protocols ['TCP', 'UDP']"
        yield causes.invalid(f"{path}.hostname", listener["hostname"], why)
    has_keys = bool(items(tls, "certificateRefs") or members(tls, "options"))
    if tls is not None and mode == "Terminate" and not has_keys:
        why = "certificateRefs or options must be specified when mode is Terminate"
        yield causes.required(f"{path}.tls", why)


def _route(route: JsonObject) -> Iterator[Cause]:
    """What holds for routes of every protocol."""
    yield from _parents(objects(route, "spec", "parentRefs"))
    names: set[str] = set()
    for index, rule in enumerate(objects(route, "spec", "rules")):
        path = f"spec.rules[{index}]"
        name = text(rule, "name")
        if name and name in names:
            yield causes.invalid(f"{path}.name", name, "rule name must be unique within the route")
        names.add(name)
        yield from _filters(objects(rule, "filters"), f"{path}.filters")
        for place, backend in enumerate(objects(rule, "backendRefs")):
            yield from _backend(backend, f"{path}.backendRefs[{place}]")


def _parents(parents: list[JsonObject]) -> Iterator[Cause]:
    seen = []
    for index, parent in enumerate(parents):
        group = parent.get("group", "gateway.networking.k8s.io")
        kind = parent.get("kind", "Gateway")
        name = [group, kind, parent.get("namespace"), parent.get("name")]
        place = [parent.get("sectionName"), parent.get("port")]
        if [name, place] in seen:
            why = "sectionName or port must be unique when parentRefs names a parent twice"
            yield causes.invalid(f"spec.parentRefs[{index}]", parent.get("name"), why)
        seen.append([name, place])


def _backend(backend: JsonObject, path: str) -> Iterator[Cause]:
    is_service = not backend.get("group") and backend.get("kind", "Service") == "Service"
    if is_service and backend.get("port") is None:
        yield causes.required(f"{path}.port", "must have port for Service reference")
    yield from _filters(objects(backend, "filters"), f"{path}.filters")


def _filters(filters: list[JsonObject], path: str) -> Iterator[Cause]:
    seen: list[str] = []
    for index, found in enumerate(filters):
        type_ = text(found, "type")
        wanted = _FILTER_MEMBERS[type_]
        if found.get(wanted) is None:
            why = f"filter.{wanted} must be specified for {type_} filter.type"
            yield causes.required(f"{path}[{index}].{wanted}", why)
        for name in _FILTER_MEMBERS.values():
            if name != wanted and found.get(name) is not None:
                why = f"filter.{name} must be nil if the filter.type is {type_}"
                yield causes.forbidden(f"{path}[{index}].{name}", why)
        if type_ in seen and type_ not in _REPEATABLE:
            yield causes.invalid(path, type_, f"{type_} filter cannot be repeated")
        seen.append(type_)
        mirrored = members(found, "requestMirror", "backendRef")
        if mirrored:
            yield from _backend(mirrored, f"{path}[{index}].requestMirror.backendRef")
    if "RequestRedirect" in seen and "URLRewrite" in seen:
        yield causes.invalid(path, seen, "RequestRedirect and URLRewrite exclude each other")


def _http_route(route: JsonObject) -> Iterator[Cause]:
    yield from _route(route)
    for index, rule in enumerate(objects(route, "spec", "rules")):
        path = f"spec.rules[{index}]"
        redirects = [f for f in objects(rule, "filters") if f.get("requestRedirect") is not None]
        if redirects and items(rule, "backendRefs"):
            why = "RequestRedirect filter must not be used together with backendRefs"
            yield causes.invalid(path, "RequestRedirect", why)
        for place, match in enumerate(objects(rule, "matches")):
            yield from _path(members(match, "path"), f"{path}.matches[{place}].path")


def _path(path: JsonObject, field: str) -> Iterator[Cause]:
    value = text(path, "value", default="/")
    if text(path, "type", default="PathPrefix") == "RegularExpression":
        return
    if not value.startswith("/"):
        why = "value must be an absolute path and start with '/' when type is Exact or PathPrefix"
        yield causes.invalid(f"{field}.value", value, why)
    for trap in _PATH_TRAPS:
        if trap in value:
            why = f"must not contain '{trap}' when type is Exact or PathPrefix"
            yield causes.invalid(f"{field}.value", value, why)
    if value.endswith(("/..", "/.")):
        why = "must not end with '/..' or '/.' when type is Exact or PathPrefix"
        yield causes.invalid(f"{field}.value", value, why)


def _tls_route(route: JsonObject) -> Iterator[Cause]:
    yield from _route(route)
    is_alpha = route.get("apiVersion") == "gateway.networking.k8s.io/v1alpha2"
    if not is_alpha and not items(route, "spec", "hostnames"):
        yield causes.required("spec.hostnames")


GATEWAY_RULES: Mapping[str, Callable[[JsonObject], Iterator[Cause]]] = {
    "Gateway": _gateway,
    "GRPCRoute": _route,
    "HTTPRoute": _http_route,
    "TCPRoute": _route,
    "TLSRoute": _tls_route,
}
