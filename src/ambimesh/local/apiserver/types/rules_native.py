"""Rules of built-in kinds. Source: k8s.io/kubernetes/pkg/apis, validation."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any

from ambimesh.local.apiserver.types import cause as causes
from ambimesh.local.apiserver.types.cause import Cause
from ambimesh.local.apiserver.types.reading import items, member, members, objects, text

JsonObject = dict[str, Any]

_DATA_LIMIT_BYTES = 1 << 20
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")


def _repeated(names: Iterable[object], field: str, part: str) -> Iterator[Cause]:
    """Complain about each name that was there before; ``field`` is the list, ``part`` the name."""
    seen: set[object] = set()
    for index, name in enumerate(names):
        if name in seen and name not in (None, ""):
            yield causes.duplicate(f"{field}[{index}].{part}", name)
        seen.add(name)


def _service(service: JsonObject) -> Iterator[Cause]:
    spec = members(service, "spec")
    ports = objects(spec, "ports")
    is_external = spec.get("type") == "ExternalName"
    if is_external and not spec.get("externalName"):
        yield causes.required("spec.externalName")
    if not (ports or is_external or spec.get("clusterIP") == "None"):
        yield causes.required("spec.ports")
    if len(ports) > 1:
        for index, port in enumerate(ports):
            if not port.get("name"):
                yield causes.required(f"spec.ports[{index}].name")
    yield from _repeated((port.get("name") for port in ports), "spec.ports", "name")
    seen = []
    for index, port in enumerate(ports):
        key = {"port": port.get("port"), "protocol": port.get("protocol") or "TCP"}
        if key in seen:
            yield causes.duplicate(f"spec.ports[{index}]", key)
        seen.append(key)


def _pod(pod: JsonObject) -> Iterator[Cause]:
    yield from _pod_spec(members(pod, "spec"), "spec")


def _pod_spec(spec: JsonObject, path: str) -> Iterator[Cause]:
    volumes = [text(volume, "name") for volume in objects(spec, "volumes")]
    yield from _repeated(volumes, f"{path}.volumes", "name")
    seen: set[str] = set()
    for part in ("initContainers", "containers"):
        for index, container in enumerate(objects(spec, part)):
            where = f"{path}.{part}[{index}]"
            name = text(container, "name")
            if name in seen:
                yield causes.duplicate(f"{where}.name", name)
            seen.add(name)
            yield from _container(container, where, volumes)


def _container(container: JsonObject, path: str, volumes: list[str]) -> Iterator[Cause]:
    ports = objects(container, "ports")
    yield from _repeated((port.get("name") for port in ports), f"{path}.ports", "name")
    mounts = objects(container, "volumeMounts")
    for index, mount in enumerate(mounts):
        if mount.get("name") not in volumes:
            yield Cause(
                reason="FieldValueNotFound",
                message=f"Not found: {causes.shown(mount.get('name'))}",
                field=f"{path}.volumeMounts[{index}].name",
            )
    places = (mount.get("mountPath") for mount in mounts)
    yield from _repeated(places, f"{path}.volumeMounts", "mountPath")
    for part in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = member(container, part)
        if probe is not None:
            yield from _probe(probe, f"{path}.{part}")


def _probe(probe: JsonObject, path: str) -> Iterator[Cause]:
    handlers = [name for name in _HANDLERS if probe.get(name) is not None]
    if not handlers:
        yield causes.required(path, "must specify a handler type")
    for name in handlers[1:]:
        yield causes.forbidden(f"{path}.{name}", "may not specify more than 1 handler type")


def _deployment(deployment: JsonObject) -> Iterator[Cause]:
    spec = members(deployment, "spec")
    selector = members(spec, "selector")
    if not (selector.get("matchLabels") or selector.get("matchExpressions")):
        why = "empty selector is invalid for deployment"
        yield causes.invalid("spec.selector", selector, why)
    labels = members(spec, "template", "metadata", "labels")
    if not _is_selected(selector, labels):
        why = "`selector` does not match template `labels`"
        yield causes.invalid("spec.template.metadata.labels", labels, why)
    policy = member(spec, "template", "spec", "restartPolicy")
    if policy not in (None, "Always"):
        yield causes.unsupported("spec.template.spec.restartPolicy", policy, ["Always"])
    strategy = members(spec, "strategy")
    if strategy.get("type") == "Recreate" and strategy.get("rollingUpdate") is not None:
        why = "may not be specified when strategy `type` is 'Recreate'"
        yield causes.forbidden("spec.strategy.rollingUpdate", why)
    yield from _pod_spec(members(spec, "template", "spec"), "spec.template.spec")


def _is_selected(selector: JsonObject, labels: JsonObject) -> bool:
    exact = members(selector, "matchLabels").items()
    if any(labels.get(name) != value for name, value in exact):
        return False
    for expression in objects(selector, "matchExpressions"):
        key, values = text(expression, "key"), items(expression, "values")
        is_met = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }
        if not is_met[text(expression, "operator")]:
            return False
    return True


def _data(obj: JsonObject) -> Iterator[Cause]:
    total = 0
    seen: set[str] = set()
    for part in ("data", "binaryData", "stringData"):
        entries = members(obj, part)
        for name, value in entries.items():
            total += len(value or "")
            if not _DATA_KEY.fullmatch(name) or name in (".", ".."):
                why = "a key has letters, digits, '-', '_' and '.' (e.g. 'key.name' or 'KEY_NAME')"
                yield causes.invalid(f"{part}[{name}]", name, why)
            if part == "binaryData" and name in seen:
                yield causes.invalid(part, name, "duplicate of key present in data")
        seen |= entries.keys()
    if total > _DATA_LIMIT_BYTES * 4 // 3:  # base64 needs a third more
        yield causes.too_long("data", _DATA_LIMIT_BYTES)


def _endpoint_slice(piece: JsonObject) -> Iterator[Cause]:
    wanted = {"IPv4": 4, "IPv6": 6}.get(text(piece, "addressType"))
    for index, endpoint in enumerate(objects(piece, "endpoints")):
        for place, address in enumerate(items(endpoint, "addresses")):
            if wanted is not None and _ip_version(address) != wanted:
                why = f"must be an IPv{wanted} address"
                yield causes.invalid(f"endpoints[{index}].addresses[{place}]", address, why)


def _ip_version(address: str) -> int | None:
    try:
        return ip_address(address).version
    except ValueError:
        return None


NATIVE_RULES: Mapping[str, Callable[[JsonObject], Iterator[Cause]]] = {
    "ConfigMap": _data,
    "Deployment": _deployment,
    "EndpointSlice": _endpoint_slice,
    "Pod": _pod,
    "Secret": _data,
    "Service": _service,
}
