"""From a Service and its pods to the slices that list its endpoints. Pure.

Source: the EndpointSlice controller of Kubernetes and discovery.k8s.io/v1.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ambimesh.local.apiserver.builtin import SERVICES
from ambimesh.local.apiserver.controllers.objects import (
    controller_reference,
    has_ended,
    is_deleting,
    is_true,
)
from ambimesh.local.apiserver.store.entry import JsonObject, encode

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
MANAGER = "endpointslice-controller.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
HEADLESS = "service.kubernetes.io/headless"
MOST_ENDPOINTS = 100  # in one slice, as in Kubernetes
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


@dataclass(frozen=True, slots=True)
class _Group:
    """Endpoints of one family that listen on the same numbers."""

    family: str
    ports: tuple[Mapping[str, Any], ...]
    endpoints: list[JsonObject]


def slices_of(service: JsonObject, pods: Iterable[JsonObject]) -> list[JsonObject]:
    """Give the slices that a Service should have.

    Shape: at least one for each family, also without endpoints; names are the same for the
    same Service, family, ports and place in the sequence.
    """
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    usable = sorted(
        (pod for pod in pods if not has_ended(pod)), key=lambda pod: str(pod["metadata"]["name"])
    )
    made: list[JsonObject] = []
    for family in families:
        groups = list(_groups(service, usable, family))
        for group in groups or [_Group(family, (), [])]:
            made.extend(_chunks(service, group))
    return made


def _groups(service: JsonObject, pods: Iterable[JsonObject], family: str) -> Iterator[_Group]:
    found: dict[bytes, _Group] = {}
    for pod in pods:
        address = _address(pod, family)
        if not address:
            continue
        ports = tuple(_ports(service, pod))
        if not ports and service["spec"].get("ports"):
            continue  # none of the named ports exists in this pod
        group = found.setdefault(encode(ports), _Group(family, ports, []))
        group.endpoints.append(_endpoint(service, pod, address))
    yield from found.values()


def _address(pod: JsonObject, family: str) -> str:
    status = pod.get("status") or {}
    listed = [item.get("ip", "") for item in status.get("podIPs") or ()]
    for address in [*listed, status.get("podIP") or ""]:
        if address and (":" in address) == (family == "IPv6"):
            return str(address)
    return ""


def _ports(service: JsonObject, pod: JsonObject) -> Iterator[Mapping[str, Any]]:
    for port in service["spec"].get("ports") or ():
        protocol = port.get("protocol") or "TCP"
        number = _number(port.get("targetPort") or port["port"], protocol, pod)
        if number:
            protocols = {"appProtocol": port["appProtocol"]} if port.get("appProtocol") else {}
            name = port.get("name") or ""
            yield {"name": name, "port": number, "protocol": protocol, **protocols}


def _number(target: object, protocol: str, pod: JsonObject) -> int:
    """Find the number behind a target port: itself, or that of a container's named port."""
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        for port in container.get("ports") or ():
            if port.get("name") == target and (port.get("protocol") or "TCP") == protocol:
                return int(port["containerPort"])
    text = str(target)
    return int(text) if text.isdigit() else 0


def _endpoint(service: JsonObject, pod: JsonObject, address: str) -> JsonObject:
    metadata, spec = pod["metadata"], pod["spec"]
    is_ready, is_leaving = is_true(pod, "Ready"), is_deleting(pod)
    is_always = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: JsonObject = {
        "addresses": [address],
        "conditions": {
            "ready": is_always or (is_ready and not is_leaving),
            "serving": is_always or is_ready,
            "terminating": is_leaving,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    if spec.get("nodeName"):
        endpoint["nodeName"] = spec["nodeName"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint


def _chunks(service: JsonObject, group: _Group) -> Iterator[JsonObject]:
    for start in range(0, max(len(group.endpoints), 1), MOST_ENDPOINTS):
        part = group.endpoints[start : start + MOST_ENDPOINTS]
        yield _slice(service, group, start // MOST_ENDPOINTS, part)


def _slice(
    service: JsonObject, group: _Group, index: int, endpoints: list[JsonObject]
) -> JsonObject:
    metadata = service["metadata"]
    labels = {
        **(metadata.get("labels") or {}),
        SERVICE_NAME: metadata["name"],
        MANAGED_BY: MANAGER,
    }
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    seed = encode([metadata["uid"], group.family, group.ports, index])
    prefix = f"{metadata['name']}-"
    return {
        "metadata": {
            "name": prefix + _suffix(seed),
            "generateName": prefix,
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [controller_reference(SERVICES, service)],
        },
        "addressType": group.family,
        "endpoints": endpoints,
        "ports": list(group.ports),
    }


def _suffix(seed: bytes) -> str:
    """Give five characters that follow from the seed; the same alphabet as generated names."""
    number = int.from_bytes(hashlib.sha256(seed).digest()[:8])
    text = ""
    for _ in range(5):
        number, rest = divmod(number, len(_ALPHABET))
        text += _ALPHABET[rest]
    return text
