"""Tables, as ``kubectl get`` prints them."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambimesh.local.apiserver.types.duration import age, human_duration
from ambimesh.local.apiserver.types.kinds import KINDS, Kind, by_kind
from ambimesh.local.apiserver.types.printer import columns_of, table

JsonObject = dict[str, Any]

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
GOLDEN = Path(__file__).parents[2] / "golden/apiserver/tables.json"

# Recorded from kube-apiserver 1.35, and the printer columns of the CRDs; "|" opens those that
# only -o wide shows.
COLUMNS = {
    "Namespace": "Name, Status, Age",
    "Node": "Name, Status, Roles, Age, Version | Internal-IP, External-IP, OS-Image,"
    " Kernel-Version, Container-Runtime",
    "Pod": "Name, Ready, Status, Restarts, Age | IP, Node, Nominated Node, Readiness Gates",
    "Service": "Name, Type, Cluster-IP, External-IP, Port(s), Age | Selector",
    "EndpointSlice": "Name, AddressType, Ports, Endpoints, Age",
    "ServiceAccount": "Name, Age",
    "ConfigMap": "Name, Data, Age",
    "Secret": "Name, Type, Data, Age",
    "Lease": "Name, Holder, Age",
    "Deployment": "Name, Ready, Up-to-date, Available, Age | Containers, Images, Selector",
    "ReplicaSet": "Name, Desired, Current, Ready, Age | Containers, Images, Selector",
    "GatewayClass": "Name, Controller, Accepted, Age | Description",
    "Gateway": "Name, Class, Address, Programmed, Age",
    "HTTPRoute": "Name, Hostnames, Age",
    "AuthorizationPolicy": "Name, Action, Age",
    "PeerAuthentication": "Name, Mode, Age",
    "ServiceEntry": "Name, Hosts, Location, Resolution, Age",
    "WorkloadEntry": "Name, Age, Address",
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_are_those_of_a_real_server(kind: str) -> None:
    """Scripts cut columns by number: names, order and priorities are part of the contract."""
    found = next(row for row in KINDS if row.kind == kind)
    columns = columns_of(found)

    usual = ", ".join(column.name for column in columns if column.priority == 0)
    wide = ", ".join(column.name for column in columns if column.priority == 1)
    assert COLUMNS[kind] == (f"{usual} | {wide}" if wide else usual)


def test_columns_of_events_hide_the_name() -> None:
    """Events are the one kind whose name comes last, and only with ``-o wide``."""
    event = by_kind("v1", "Event")
    assert event is not None

    assert [(column.name, column.priority) for column in columns_of(event)] == [
        ("Last Seen", 0),
        ("Type", 0),
        ("Reason", 0),
        ("Object", 0),
        ("Subobject", 1),
        ("Source", 1),
        ("Message", 0),
        ("First Seen", 1),
        ("Count", 1),
        ("Name", 1),
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (59, "59s"),
        (119, "119s"),
        (120, "2m"),
        (193, "3m13s"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (5 * 3600 + 12 * 60, "5h12m"),
        (8 * 3600, "8h"),
        (47 * 3600, "47h"),
        (51 * 3600, "2d3h"),
        (8 * 86400, "8d"),
        (730 * 86400, "2y"),
        (740 * 86400, "2y10d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_human_duration_is_as_kubectl_writes_it(seconds: int, text: str) -> None:
    """The thresholds between units are those of Kubernetes."""
    assert human_duration(seconds) == text


@pytest.mark.parametrize("odd", [None, 5, "", "yesterday", {}])
def test_age_of_what_is_no_time_is_unknown(odd: object) -> None:
    """An object without a time is printed all the same."""
    assert age(odd, NOW) == "<unknown>"


def test_table_has_columns_rows_and_metadata() -> None:
    """The whole shape, once."""
    kind = by_kind("v1", "ConfigMap")
    assert kind is not None
    metadata = {"name": "a", "creationTimestamp": "2026-01-01T11:59:01Z"}
    obj = {"metadata": metadata, "data": {"x": "1"}, "binaryData": {"y": "AA=="}}

    made = table(kind, [obj], now=NOW, metadata={"resourceVersion": "7"})

    assert made["kind"] == "Table"
    assert made["apiVersion"] == "meta.k8s.io/v1"
    assert made["metadata"] == {"resourceVersion": "7"}
    assert [column["name"] for column in made["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert made["columnDefinitions"][0]["format"] == "name"
    assert made["rows"] == [
        {
            "cells": ["a", 2, "59s"],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            },
        }
    ]


def test_table_includes_what_is_asked_for() -> None:
    """The whole object for ``--sort-by``, nothing for the frugal; no columns later in a watch."""
    kind = by_kind("v1", "ConfigMap")
    assert kind is not None
    obj = {"metadata": {"name": "a"}, "data": {"x": "1"}}

    whole = table(kind, [obj], now=NOW, include="Object")
    none = table(kind, [obj], now=NOW, include="None", with_columns=False)

    assert whole["rows"][0]["object"] == obj
    assert "object" not in none["rows"][0]
    assert none["columnDefinitions"] is None


def ago(seconds: int) -> str:
    """Write the time so many seconds before now."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def made(api_version: str, kind: str, **rest: Any) -> JsonObject:
    """Make an object that is a day old."""
    metadata = {"name": "x", "creationTimestamp": ago(86400), **rest.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def container(**state: object) -> JsonObject:
    """Make the status of a container."""
    return {"name": "c", "ready": "running" in state, "restartCount": 0, "state": state}


def pod(*statuses: JsonObject, phase: str = "Running", **more: Any) -> JsonObject:
    """Make a pod with one container for each status."""
    spec = {"containers": [{"name": s["name"]} for s in statuses], **more.pop("spec", {})}
    status = {"phase": phase, "containerStatuses": list(statuses), **more.pop("status", {})}
    return made("v1", "Pod", spec=spec, status=status, **more)


RUNNING = container(running={})
CRASHED = {
    **container(waiting={"reason": "CrashLoopBackOff"}),
    "restartCount": 4,
    "lastState": {"terminated": {"exitCode": 1, "finishedAt": ago(90)}},
}
INIT = {"initContainers": [{"name": "i"}, {"name": "j"}]}
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}}
INVOLVED = {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{web}"}
CONDITIONS = [{"type": "Programmed", "status": "True"}, {"type": "Accepted", "status": "False"}]

EXAMPLES = [
    made("v1", "Namespace", status={"phase": "Active"}),
    made(
        "v1",
        "Node",
        metadata={"labels": {"node-role.kubernetes.io/control-plane": ""}},
        spec={"unschedulable": True},
        status={
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "198.18.0.2"}],
            "nodeInfo": {"kubeletVersion": "v1.35.4", "osImage": "Linux"},
        },
    ),
    made("v1", "Node", status={"conditions": [{"type": "Ready", "status": "Unknown"}]}),
    pod(RUNNING, status={"podIPs": [{"ip": "198.18.1.10"}]}, spec={"nodeName": "node-1"}),
    pod(CRASHED, RUNNING),
    pod(container(terminated={"reason": "Completed", "exitCode": 0}), phase="Succeeded"),
    pod(container(terminated={"exitCode": 3}), phase="Failed"),
    pod(container(terminated={"exitCode": 0, "signal": 9}), phase="Failed"),
    pod(phase="Pending"),
    pod(
        container(waiting={"reason": "PodInitializing"}),
        phase="Pending",
        spec=INIT,
        status={"initContainerStatuses": [container(terminated={"exitCode": 0}), RUNNING]},
    ),
    pod(
        phase="Pending",
        spec=INIT,
        status={"initContainerStatuses": [container(waiting={"reason": "ErrImagePull"})]},
    ),
    pod(RUNNING, metadata={"deletionTimestamp": ago(3)}),
    pod(
        RUNNING,
        spec={"readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
        status={"conditions": [{"type": "a", "status": "True"}]},
    ),
    made(
        "v1",
        "Service",
        spec={
            "type": "ClusterIP",
            "clusterIP": "198.19.0.9",
            "clusterIPs": ["198.19.0.9", "fd98::9"],
            "ports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
            "selector": {"b": "2", "a": "1"},
        },
    ),
    made(
        "v1",
        "Service",
        spec={
            "type": "LoadBalancer",
            "clusterIP": "198.19.0.9",
            "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}],
        },
    ),
    made("v1", "Service", spec={"type": "ExternalName", "externalName": "example.com"}),
    made(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        addressType="IPv4",
        ports=[{"port": 80}, {"name": "metrics"}],
        endpoints=[{"addresses": [f"198.18.1.{n}"]} for n in range(1, 6)],
    ),
    made("discovery.k8s.io/v1", "EndpointSlice", addressType="IPv6", endpoints=[], ports=[]),
    made("v1", "Secret", type="Opaque", data={"a": "AA=="}),
    made(
        "v1",
        "Event",
        type="Warning",
        reason="BackOff",
        message="back-off\n",
        involvedObject=INVOLVED,
        source={"component": "kubelet", "host": "node-1"},
        firstTimestamp=ago(600),
        lastTimestamp=ago(5),
        count=3,
    ),
    made(
        "v1",
        "Event",
        type="Normal",
        involvedObject=INVOLVED,
        eventTime=ago(60),
        reportingComponent="x",
        series={"count": 7, "lastObservedTime": ago(1)},
    ),
    made("coordination.k8s.io/v1", "Lease", spec={"holderIdentity": "node-1"}),
    made(
        "apps/v1",
        "Deployment",
        spec={
            "replicas": 3,
            "template": TEMPLATE,
            "selector": {
                "matchLabels": {"app": "x"},
                "matchExpressions": [
                    {"key": "t", "operator": "In", "values": ["b", "a"]},
                    {"key": "u", "operator": "DoesNotExist"},
                ],
            },
        },
        status={"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
    ),
    made(
        "gateway.networking.k8s.io/v1",
        "GatewayClass",
        spec={"controllerName": "ambimesh.io/c", "description": "d"},
        status={"conditions": CONDITIONS},
    ),
    made(
        "gateway.networking.k8s.io/v1",
        "Gateway",
        spec={"gatewayClassName": "istio-waypoint"},
        status={"conditions": CONDITIONS, "addresses": [{"value": "198.19.0.8"}, {"value": "b"}]},
    ),
    made("gateway.networking.k8s.io/v1", "HTTPRoute", spec={"hostnames": ["a", "b"]}),
    made("security.istio.io/v1", "AuthorizationPolicy", spec={"action": "DENY"}),
    made("security.istio.io/v1", "AuthorizationPolicy", spec={}),
    made("security.istio.io/v1", "PeerAuthentication", spec={"mtls": {"mode": "STRICT"}}),
    made(
        "networking.istio.io/v1",
        "ServiceEntry",
        spec={"hosts": ["a"], "location": "MESH_EXTERNAL", "resolution": "DNS"},
    ),
    made("networking.istio.io/v1", "WorkloadEntry", spec={"address": "10.0.0.1"}),
    made("networking.istio.io/v1", "VirtualService", spec={"hosts": ["a"], "gateways": ["g"]}),
    made("networking.istio.io/v1", "DestinationRule", spec={"host": "h"}),
]


def test_cells_are_what_was_approved() -> None:
    """One line for each example, as a person reads them."""
    lines = []
    for obj in EXAMPLES:
        kind = by_kind(obj["apiVersion"], obj["kind"])
        assert kind is not None
        cells = table(kind, [obj], now=NOW, include="None")["rows"][0]["cells"]
        lines.append(json.dumps([obj["kind"], *cells]))
    text = "[\n" + ",\n".join(lines) + "\n]\n"
    if os.environ.get("AMBIMESH_UPDATE_GOLDEN"):
        GOLDEN.write_text(text)

    assert text == GOLDEN.read_text()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    "metadata",
                    "spec",
                    "status",
                    "ports",
                    "conditions",
                    "type",
                    "containerStatuses",
                    "state",
                    "waiting",
                    "reason",
                    "addresses",
                    "selector",
                    "matchLabels",
                    "creationTimestamp",
                    "series",
                    "endpoints",
                    "source",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(kind=st.sampled_from(KINDS), obj=st.dictionaries(st.text(max_size=2), JSON) | JSON)
@settings(max_examples=300, deadline=None)
def test_table_prints_any_object(kind: Kind, obj: Any) -> None:
    """One odd object must not make a whole list unreadable."""
    made = table(kind, [obj if isinstance(obj, dict) else {"spec": obj, "status": obj}], now=NOW)

    assert len(made["rows"][0]["cells"]) == len(made["columnDefinitions"])
