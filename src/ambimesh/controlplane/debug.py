"""Pages that show what the control plane knows and whom it told. Source: §5.10 of its spec."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from ambimesh.compile.incremental import MeshCompiler
from ambimesh.controlplane.monitor import Answer
from ambimesh.model.workload import Workload
from ambimesh.xds.service import DiscoveryService, Stream


def pages(
    discovery: DiscoveryService, compiler: Callable[[], MeshCompiler | None]
) -> dict[str, Callable[[], Answer]]:
    """Give the debug pages by path."""
    found: dict[str, Callable[[], Answer]] = {
        "/debug/syncz": lambda: as_json([_sync(stream) for stream in discovery.streams]),
        "/debug/adsz": lambda: as_json(_connections(discovery)),
        "/debug/ambientz": lambda: as_json(_resources(compiler())),
        "/debug/configz": lambda: as_json(_verdicts(compiler())),
    }
    index = sorted(found)
    return {**found, "/debug": lambda: as_json(index)}


def as_json(value: Any) -> Answer:
    """Answer with JSON, for people: indented, keys in order."""
    text = json.dumps(value, default=_plain, indent=2, sort_keys=True)
    return Answer(body=text.encode() + b"\n")


def _sync(stream: Stream) -> Mapping[str, Any]:
    subscriber = stream.subscriber
    return {
        "cluster_id": subscriber.cluster,
        "proxy": f"{subscriber.pod}.{subscriber.namespace}" if subscriber.pod else subscriber.id,
        "proxy_type": subscriber.type,
        "resources": {
            type_url: {
                "sent": subscription.sent,
                "acked": subscription.acknowledged,
                "lastError": subscription.last_error,
                "rejected": subscription.rejected_count,
            }
            for type_url, subscription in stream.session.subscriptions.items()
        },
    }


def _connections(discovery: DiscoveryService) -> Mapping[str, Any]:
    clients = [
        {
            "connectionId": stream.subscriber.id,
            "connectedAt": datetime.fromtimestamp(stream.connected_at, UTC).isoformat(),
            "address": stream.peer,
            "identity": f"{stream.caller.namespace}/{stream.caller.service_account}",
            "watches": {
                type_url: "*" if subscription.wildcard else sorted(subscription.requested)
                for type_url, subscription in stream.session.subscriptions.items()
            },
        }
        for stream in discovery.streams
    ]
    return {"totalClients": len(clients), "clients": clients}


def _resources(compiler: MeshCompiler | None) -> Mapping[str, Any]:
    if compiler is None:
        return {}
    addresses = compiler.addresses.values.values()
    return {
        "workloads": [item for item in addresses if isinstance(item, Workload)],
        "services": [item for item in addresses if not isinstance(item, Workload)],
        "policies": list(compiler.authorizations.values()),
    }


def _verdicts(compiler: MeshCompiler | None) -> list[Mapping[str, Any]]:
    if compiler is None:
        return []
    return [
        {
            "kind": name.kind.kind,
            "namespace": name.namespace,
            "name": name.name,
            "condition": verdict.type,
            "accepted": verdict.accepted,
            "reason": verdict.reason,
            "message": verdict.message,
        }
        for name, verdict in compiler.verdicts.items()
    ]


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, IPv4Address | IPv6Address | IPv4Network | IPv6Network):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"no JSON for {type(value).__name__}")
