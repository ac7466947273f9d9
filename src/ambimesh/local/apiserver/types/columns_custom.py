"""Columns of custom kinds, as their CRDs name them.

Source: ``additionalPrinterColumns`` of the Gateway API 1.7 and Istio 1.31, and how
k8s.io/apiextensions-apiserver makes cells of them.
"""

import json
from collections.abc import Mapping
from typing import Any

from ambimesh.local.apiserver.types.columns import (
    NAME,
    Column,
    column,
    condition,
    created_ago,
    wide,
)
from ambimesh.local.apiserver.types.reading import member, objects

JsonObject = dict[str, Any]


def _field(name: str, *path: str) -> Column:
    """A column for one field; what is no text is shown as JSON, what is absent is empty."""

    def cell(obj: JsonObject) -> str | None:
        found = member(obj, *path)
        if found is None or isinstance(found, str):
            return found
        return json.dumps(found, separators=(",", ":"), ensure_ascii=False)

    return column(name, cell)


def _condition(type_: str) -> Column:
    return column(type_, lambda obj: condition(obj, type_))


def _first_address(gateway: JsonObject) -> Any:
    addresses = objects(gateway, "status", "addresses")
    return addresses[0].get("value") if addresses else None


_AGE = Column(name="Age", type="date", cell=created_ago)  # kubectl prints it as it comes
_AGE_ONLY = (NAME, _AGE)
_HOSTNAMES = (NAME, _field("Hostnames", "spec", "hostnames"), _AGE)

CUSTOM: Mapping[str, tuple[Column, ...]] = {
    "GatewayClass": (
        NAME,
        _field("Controller", "spec", "controllerName"),
        _condition("Accepted"),
        _AGE,
        wide("Description", lambda obj: member(obj, "spec", "description")),
    ),
    "Gateway": (
        NAME,
        _field("Class", "spec", "gatewayClassName"),
        column("Address", _first_address),
        _condition("Programmed"),
        _AGE,
    ),
    "HTTPRoute": _HOSTNAMES,
    "GRPCRoute": _HOSTNAMES,
    "TCPRoute": _AGE_ONLY,
    "TLSRoute": _AGE_ONLY,
    "ReferenceGrant": _AGE_ONLY,
    "AuthorizationPolicy": (NAME, _field("Action", "spec", "action"), _AGE),
    "PeerAuthentication": (NAME, _field("Mode", "spec", "mtls", "mode"), _AGE),
    "RequestAuthentication": _AGE_ONLY,
    "ServiceEntry": (
        NAME,
        _field("Hosts", "spec", "hosts"),
        _field("Location", "spec", "location"),
        _field("Resolution", "spec", "resolution"),
        _AGE,
    ),
    "WorkloadEntry": (NAME, _AGE, _field("Address", "spec", "address")),
    "VirtualService": (
        NAME,
        _field("Gateways", "spec", "gateways"),
        _field("Hosts", "spec", "hosts"),
        _AGE,
    ),
    "DestinationRule": (NAME, _field("Host", "spec", "host"), _AGE),
    "Telemetry": _AGE_ONLY,
    "WasmPlugin": _AGE_ONLY,
}
"""By kind; each whole, also the name."""
