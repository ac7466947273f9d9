"""Defaults of a kind, and what a typed server would not write.

Source: the defaulting functions of Kubernetes' API groups and, for custom kinds, their CRDs.
"""

import copy
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any

from ambimesh.local.apiserver.types.kinds import Kind
from ambimesh.local.apiserver.types.language import Field, List, Map, Struct, Type, child

JsonObject = dict[str, Any]


def fill(kind: Kind, obj: JsonObject) -> JsonObject:
    """Give a copy with the defaults of its kind; what is set stays as it is.

    Total: what has a wrong type is passed over, ``validate.check`` reports it.
    Nothing here knows other objects: addresses of services are given elsewhere.
    """
    filled: JsonObject = _filled(obj, kind.schema)
    adjust = _BY_KIND.get(kind.kind) if not kind.custom else None
    if adjust is not None:
        adjust(filled)
    return filled


def prune(kind: Kind, obj: JsonObject) -> JsonObject:
    """Give a copy without nulls and, in typed parts, without empty maps and lists.

    Go's ``omitempty``; without it ``kubectl diff`` never becomes quiet. Custom kinds keep what is
    empty outside ``metadata``, as a real server does. Unknown fields stay as they are.
    """
    pruned: JsonObject = _pruned(obj, kind.schema, drops_empty=not kind.custom)
    metadata = child(kind.schema, "metadata")
    if kind.custom and "metadata" in pruned:
        pruned["metadata"] = _pruned(pruned["metadata"], metadata, drops_empty=True)
    return pruned


def _filled(value: Any, type_: Type) -> Any:
    if isinstance(type_, List) and isinstance(value, list):
        return [_filled(item, type_.item) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(type_, Map):
        return {name: _filled(member, type_.item) for name, member in value.items()}
    if not isinstance(type_, Struct):
        return value
    filled = {name: _filled(member, child(type_, name)) for name, member in value.items()}
    for name, field in type_.fields.items():
        if filled.get(name) is None:
            default = _default(field)
            if default is not None:
                filled[name] = _filled(default, field.type)
    return filled


def _default(field: Field) -> Any:
    if field.default is not None:
        return copy.deepcopy(field.default)
    if not field.is_always_written:
        return None
    return [] if isinstance(field.type, List) else {}


def _pruned(value: Any, type_: Type, *, drops_empty: bool) -> Any:
    if isinstance(type_, List) and isinstance(value, list):
        return [_pruned(item, type_.item, drops_empty=drops_empty) for item in value]
    if not isinstance(value, dict) or not isinstance(type_, Map | Struct):
        return value
    members = {
        name: _pruned(member, child(type_, name), drops_empty=drops_empty)
        for name, member in value.items()
        if member is not None
    }
    if not drops_empty or isinstance(type_, Map):
        return members
    return {name: m for name, m in members.items() if not _is_omitted(m, type_.fields.get(name))}


def _is_omitted(value: Any, field: Field | None) -> bool:
    if field is None or value not in ({}, []):
        return False
    return isinstance(field.type, List | Map) and not field.is_always_written


def _service(service: JsonObject) -> None:
    spec = service["spec"]
    if not isinstance(spec, dict):
        return
    type_ = spec["type"]
    if type_ != "ExternalName":
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if type_ in ("NodePort", "LoadBalancer"):
        spec.setdefault("externalTrafficPolicy", "Cluster")
    if type_ == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 10800}})
    for port in _objects(spec.get("ports")):
        if type_ != "ExternalName" and "port" in port:
            port.setdefault("targetPort", port["port"])


def _pod(pod: JsonObject) -> None:
    spec = pod["spec"]
    if not isinstance(spec, dict):
        return
    _pod_spec(spec)
    # What the admission of service accounts does; a pod without an account has no identity.
    account = spec.setdefault("serviceAccountName", "default")
    spec.setdefault("serviceAccount", account)


def _pod_spec(spec: JsonObject) -> None:
    if "serviceAccount" in spec:
        spec.setdefault("serviceAccountName", spec["serviceAccount"])
    if "serviceAccountName" in spec:
        spec.setdefault("serviceAccount", spec["serviceAccountName"])
    for container in (*_objects(spec.get("containers")), *_objects(spec.get("initContainers"))):
        if isinstance(container.get("image"), str):
            container.setdefault("imagePullPolicy", _pull_policy(container["image"]))
        _request_limits(container["resources"])
        if spec.get("hostNetwork") is True:
            for port in _objects(container.get("ports")):
                if "containerPort" in port:
                    port.setdefault("hostPort", port["containerPort"])


def _pull_policy(image: str) -> str:
    _, has_tag, tag = image.rpartition("/")[2].partition(":")
    is_pinned = "@" in image or (bool(has_tag) and tag != "latest")
    return "IfNotPresent" if is_pinned else "Always"


def _request_limits(resources: Any) -> None:
    """A limit without a request is requested, as Kubernetes does."""
    limits = resources.get("limits") if isinstance(resources, dict) else None
    if not limits or not isinstance(limits, dict):
        return
    requests = resources.get("requests") or {}
    if isinstance(requests, dict):
        resources["requests"] = {**limits, **requests}


def _deployment(deployment: JsonObject) -> None:
    spec = deployment["spec"]
    if not isinstance(spec, dict):
        return
    strategy = spec["strategy"]
    if isinstance(strategy, dict) and strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        if isinstance(rolling, dict):
            rolling.setdefault("maxUnavailable", "25%")
            rolling.setdefault("maxSurge", "25%")
    template = spec["template"]
    if isinstance(template, dict) and isinstance(template["spec"], dict):
        _pod_spec(template["spec"])


def _secret(secret: JsonObject) -> None:
    """Move what is written as text to where it is kept, in base64."""
    texts, data = secret.get("stringData"), secret.get("data") or {}
    if not isinstance(texts, dict) or not isinstance(data, dict):
        return
    given = {name: text for name, text in texts.items() if text is not None}
    if not all(isinstance(text, str) for text in given.values()):
        return
    del secret["stringData"]
    if given:
        encoded = {name: b64encode(text.encode()).decode() for name, text in given.items()}
        secret["data"] = {**data, **encoded}


def _namespace(namespace: JsonObject) -> None:
    metadata = namespace["metadata"]
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
        return
    labels = metadata.get("labels") or {}
    if isinstance(labels, dict):
        metadata["labels"] = {**labels, "kubernetes.io/metadata.name": metadata["name"]}


def _objects(items: Any) -> list[JsonObject]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


_BY_KIND: Mapping[str, Callable[[JsonObject], None]] = {
    "Deployment": _deployment,
    "Namespace": _namespace,
    "Pod": _pod,
    "Secret": _secret,
    "Service": _service,
}
