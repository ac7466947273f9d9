"""Columns of built-in kinds but pods, in the order and the words of a real server.

Source: recorded from kube-apiserver 1.35; the cells from k8s.io/kubernetes/pkg/printers.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ambimesh.local.apiserver.types.columns import (
    AGE,
    NAME,
    NONE,
    UNKNOWN,
    Column,
    column,
    condition,
    pairs,
    selector,
    wide,
)
from ambimesh.local.apiserver.types.duration import age
from ambimesh.local.apiserver.types.reading import items, member, members, objects, text

JsonObject = dict[str, Any]

_SHOWN_AT_MOST = 3
_ROLE_LABEL = "node-role.kubernetes.io/"


def _node_status(node: JsonObject) -> str:
    words = {"True": "Ready", None: "Unknown"}
    ready = words.get(condition(node, "Ready"), "NotReady")
    cordoned = member(node, "spec", "unschedulable") is True
    return f"{ready},SchedulingDisabled" if cordoned else ready


def _node_roles(node: JsonObject) -> str:
    labels = members(node, "metadata", "labels")
    roles = {name.removeprefix(_ROLE_LABEL) for name in labels if name.startswith(_ROLE_LABEL)}
    return ",".join(sorted(role for role in roles if role)) or NONE


def _node_address(node: JsonObject, type_: str) -> str:
    for address in objects(node, "status", "addresses"):
        if address.get("type") == type_:
            return text(address, "address", default=NONE)
    return NONE


def _external_address(service: JsonObject) -> str:
    type_ = member(service, "spec", "type")
    if type_ == "ExternalName":
        return text(service, "spec", "externalName", default=NONE)
    given = [str(address) for address in items(service, "spec", "externalIPs")]
    if type_ != "LoadBalancer":
        return ",".join(given) or NONE
    ingress = objects(service, "status", "loadBalancer", "ingress")
    balanced = [text(entry, "ip") or text(entry, "hostname") for entry in ingress]
    return ",".join([*filter(None, balanced), *given]) or "<pending>"


def _service_ports(service: JsonObject) -> str:
    return ",".join(map(_service_port, objects(service, "spec", "ports"))) or NONE


def _service_port(port: JsonObject) -> str:
    node_port = f":{port['nodePort']}" if port.get("nodePort") else ""
    return f"{port.get('port')}{node_port}/{port.get('protocol', 'TCP')}"


def _cluster_address(service: JsonObject) -> str:
    addresses = items(service, "spec", "clusterIPs")
    return str(addresses[0]) if addresses else text(service, "spec", "clusterIP", default=NONE)


def _some(found: list[str]) -> str:
    shown = ",".join(found[:_SHOWN_AT_MOST])
    if len(found) > _SHOWN_AT_MOST:
        return f"{shown} + {len(found) - _SHOWN_AT_MOST} more..."
    return shown or "<unset>"


def _slice_ports(piece: JsonObject) -> str:
    ports = objects(piece, "ports")
    return _some([str(port.get("port") or port.get("name") or "*") for port in ports])


def _slice_addresses(piece: JsonObject) -> str:
    endpoints = objects(piece, "endpoints")
    return _some(
        [str(address) for endpoint in endpoints for address in items(endpoint, "addresses")]
    )


def _data_count(obj: JsonObject) -> int:
    return len(members(obj, "data")) + len(members(obj, "binaryData"))


def _number(*names: str, default: int = 0) -> Any:
    def cell(obj: JsonObject) -> int:
        found = member(obj, *names)
        return found if isinstance(found, int) else default

    return cell


def _ready(deployment: JsonObject) -> str:
    have = _number("status", "readyReplicas")(deployment)
    return f"{have}/{_number('spec', 'replicas')(deployment)}"


def _containers(what: str) -> Any:
    def cell(obj: JsonObject) -> str:
        containers = objects(obj, "spec", "template", "spec", "containers")
        return ",".join(text(container, what) for container in containers)

    return cell


def _event_object(event: JsonObject) -> str:
    kind, name = (text(event, "involvedObject", part) for part in ("kind", "name"))
    return f"{kind.lower()}/{name}" if kind else name


def _event_source(event: JsonObject) -> str:
    component = text(event, "source", "component") or text(event, "reportingComponent")
    host = text(event, "source", "host")
    return ", ".join(filter(None, (component, host)))


def _first_seen(event: JsonObject, now: datetime) -> str:
    return age(member(event, "firstTimestamp") or member(event, "eventTime"), now)


def _last_seen(event: JsonObject, now: datetime) -> str:
    repeated = member(event, "series", "lastObservedTime")
    last = repeated or member(event, "lastTimestamp")
    return age(last, now) if last else _first_seen(event, now)


def _event_count(event: JsonObject) -> int:
    count = member(event, "series", "count") or member(event, "count")
    return count if isinstance(count, int) else 1


_TEMPLATE = (
    wide("Containers", _containers("name")),
    wide("Images", _containers("image")),
    wide("Selector", lambda obj: selector(member(obj, "spec"))),
)
_REPLICAS = (
    NAME,
    column("Desired", _number("spec", "replicas"), "integer"),
    column("Current", _number("status", "replicas"), "integer"),
    column("Ready", _number("status", "readyReplicas"), "integer"),
    AGE,
    *_TEMPLATE,
)

NATIVE: Mapping[str, tuple[Column, ...]] = {
    "Namespace": (NAME, column("Status", lambda o: text(o, "status", "phase")), AGE),
    "Node": (
        NAME,
        column("Status", _node_status),
        column("Roles", _node_roles),
        AGE,
        column("Version", lambda o: text(o, "status", "nodeInfo", "kubeletVersion")),
        wide("Internal-IP", lambda o: _node_address(o, "InternalIP")),
        wide("External-IP", lambda o: _node_address(o, "ExternalIP")),
        wide("OS-Image", lambda o: text(o, "status", "nodeInfo", "osImage", default=UNKNOWN)),
        wide(
            "Kernel-Version",
            lambda o: text(o, "status", "nodeInfo", "kernelVersion", default=UNKNOWN),
        ),
        wide(
            "Container-Runtime",
            lambda o: text(o, "status", "nodeInfo", "containerRuntimeVersion", default=UNKNOWN),
        ),
    ),
    "Service": (
        NAME,
        column("Type", lambda o: text(o, "spec", "type")),
        column("Cluster-IP", _cluster_address),
        column("External-IP", _external_address),
        column("Port(s)", _service_ports),
        AGE,
        wide("Selector", lambda o: pairs(members(o, "spec", "selector"))),
    ),
    "EndpointSlice": (
        NAME,
        column("AddressType", lambda o: text(o, "addressType")),
        column("Ports", _slice_ports),
        column("Endpoints", _slice_addresses),
        AGE,
    ),
    "ServiceAccount": (NAME, AGE),
    "ConfigMap": (NAME, column("Data", _data_count), AGE),
    "Secret": (
        NAME,
        column("Type", lambda o: text(o, "type")),
        column("Data", _data_count),
        AGE,
    ),
    "Event": (
        Column(name="Last Seen", cell=_last_seen),
        column("Type", lambda o: text(o, "type")),
        column("Reason", lambda o: text(o, "reason")),
        column("Object", _event_object),
        wide("Subobject", lambda o: text(o, "involvedObject", "fieldPath")),
        wide("Source", _event_source),
        column("Message", lambda o: text(o, "message").strip()),
        Column(name="First Seen", cell=_first_seen, priority=1),
        wide("Count", _event_count),
        Column(name="Name", format="name", cell=NAME.cell, priority=1),
    ),
    "Lease": (NAME, column("Holder", lambda o: text(o, "spec", "holderIdentity")), AGE),
    "Deployment": (
        NAME,
        column("Ready", _ready),
        column("Up-to-date", _number("status", "updatedReplicas"), "integer"),
        column("Available", _number("status", "availableReplicas"), "integer"),
        AGE,
        *_TEMPLATE,
    ),
    "ReplicaSet": _REPLICAS,
    "ReplicationController": _REPLICAS,
    "ResourceQuota": (NAME, AGE),
    "LimitRange": (NAME, column("Created At", lambda o: text(o, "metadata", "creationTimestamp"))),
}
"""By kind; each whole, also the name."""
