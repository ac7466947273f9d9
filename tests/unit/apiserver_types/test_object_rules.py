"""Rules between fields."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambimesh.local.apiserver.types.kinds import by_kind
from ambimesh.local.apiserver.types.validate import check

JsonObject = dict[str, Any]


def made(api_version: str, kind: str, **rest: object) -> JsonObject:
    """Make an object."""
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **rest}


def broken(obj: JsonObject) -> list[str]:
    """Give the fields that are wrong."""
    kind = by_kind(obj["apiVersion"], obj["kind"])
    assert kind is not None
    return [cause.field for cause in check(kind, obj).causes]


def pod_spec(**container: object) -> JsonObject:
    """Make the spec of a pod with one container."""
    return {"containers": [{"name": "c", "image": "i", **container}]}


def deployment(**spec: object) -> JsonObject:
    """Make a deployment."""
    template = {"metadata": {"labels": {"app": "x"}}, "spec": pod_spec()}
    usual = {"selector": {"matchLabels": {"app": "x"}}, "template": template}
    return made("apps/v1", "Deployment", spec={**usual, **spec})


def gateway(*listeners: JsonObject) -> JsonObject:
    """Make a gateway."""
    usual = {"port": 80, "protocol": "HTTP"}
    named = [{"name": f"l{n}", **usual, **found} for n, found in enumerate(listeners)]
    spec = {"gatewayClassName": "c", "listeners": named}
    return made("gateway.networking.k8s.io/v1", "Gateway", spec=spec)


def route(**rule: object) -> JsonObject:
    """Make an HTTP route of one rule."""
    return made("gateway.networking.k8s.io/v1", "HTTPRoute", spec={"rules": [rule]})


def istio(kind: str, group: str = "security", **spec: object) -> JsonObject:
    """Make an object of Istio's."""
    return made(f"{group}.istio.io/v1", kind, spec=spec)


SERVICE = "v1", "Service"
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"port": 1}}
HEADERS = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["a"]}}
PORT = {"number": 80, "name": "a"}
TARGET = {"kind": "Service", "name": "s"}


@pytest.mark.parametrize(
    ("obj", "fields"),
    [
        (made(*SERVICE, spec={"selector": {"a": "b"}}), ["spec.ports"]),
        (made(*SERVICE, spec={"clusterIP": "None"}), []),
        (made(*SERVICE, spec={"type": "ExternalName"}), ["spec.externalName"]),
        (
            made(*SERVICE, spec={"ports": [{"port": 80}, {"port": 81}]}),
            ["spec.ports[0].name", "spec.ports[1].name"],
        ),
        (
            made(*SERVICE, spec={"ports": [{"port": 80, "name": "a"}, {"port": 81, "name": "a"}]}),
            ["spec.ports[1].name"],
        ),
        (
            made(
                *SERVICE,
                spec={
                    "ports": [
                        {"port": 80, "name": "a"},
                        {"port": 80, "name": "b", "protocol": "TCP"},
                        {"port": 80, "name": "c", "protocol": "UDP"},
                    ]
                },
            ),
            ["spec.ports[1]"],
        ),
        (made("v1", "Pod", spec={"containers": []}), ["spec.containers"]),
        (
            made("v1", "Pod", spec=pod_spec(volumeMounts=[{"name": "v", "mountPath": "/v"}])),
            ["spec.containers[0].volumeMounts[0].name"],
        ),
        (
            made("v1", "Pod", spec=pod_spec(readinessProbe={"periodSeconds": 1})),
            ["spec.containers[0].readinessProbe"],
        ),
        (
            made(
                "v1",
                "Pod",
                spec=pod_spec(livenessProbe={"exec": {}, "tcpSocket": {"port": 1}}),
            ),
            ["spec.containers[0].livenessProbe.tcpSocket"],
        ),
        (
            made("v1", "Pod", spec={"containers": [{"name": "c"}, {"name": "c"}]}),
            ["spec.containers[1].name"],
        ),
        (deployment(), []),
        (deployment(selector={}), ["spec.selector"]),
        (
            deployment(selector={"matchLabels": {"app": "y"}}),
            ["spec.template.metadata.labels"],
        ),
        (
            deployment(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}),
            [],
        ),
        (
            deployment(strategy={"type": "Recreate", "rollingUpdate": {}}),
            ["spec.strategy.rollingUpdate"],
        ),
        (made("v1", "ConfigMap", data={"a b": "x"}), ["data[a b]"]),
        (made("v1", "ConfigMap", data={"a": "x"}, binaryData={"a": "eA=="}), ["binaryData"]),
        (made("v1", "ConfigMap", data={"a": "x" * 2_000_000}), ["data"]),
        (
            made(
                "discovery.k8s.io/v1",
                "EndpointSlice",
                addressType="IPv4",
                endpoints=[{"addresses": ["10.0.0.1"]}, {"addresses": ["::1"]}],
            ),
            ["endpoints[1].addresses[0]"],
        ),
        ({**made("v1", "ConfigMap"), "metadata": {"labels": {"a b": "c"}}}, ["metadata.labels"]),
        ({**made("v1", "ConfigMap"), "metadata": {"labels": {"a": "c d"}}}, ["metadata.labels"]),
        (
            {**made("v1", "ConfigMap"), "metadata": {"labels": {"istio.io/x_Y": "A.b"}}},
            [],
        ),
        (
            {**made("v1", "ConfigMap"), "metadata": {"annotations": {"/a": ""}}},
            ["metadata.annotations"],
        ),
        (
            istio("AuthorizationPolicy", selector={}, targetRefs=[TARGET]),
            ["spec"],
        ),
        (
            istio("AuthorizationPolicy", targetRef={**TARGET, "namespace": "n"}),
            ["spec.targetRef.namespace"],
        ),
        (
            istio("AuthorizationPolicy", selector={"matchLabels": {"a": "*"}}),
            ["spec.selector.matchLabels"],
        ),
        (
            istio(
                "AuthorizationPolicy",
                rules=[{"from": [{"source": {"serviceAccounts": ["a"], "namespaces": ["b"]}}]}],
            ),
            ["spec.rules[0].from[0].source"],
        ),
        (
            istio("PeerAuthentication", portLevelMtls={"80": {"mode": "STRICT"}}),
            ["spec.portLevelMtls"],
        ),
        (
            istio(
                "PeerAuthentication",
                selector={"matchLabels": {"a": "b"}},
                portLevelMtls={"80": {}, "0": {}, "x": {}, "65536": {}},
            ),
            ["spec.portLevelMtls"] * 3,
        ),
        (
            istio("RequestAuthentication", jwtRules=[{"jwks": "a", "jwksUri": "ftp://b"}]),
            ["spec.jwtRules[0]", "spec.jwtRules[0].jwksUri"],
        ),
        (
            istio("ServiceEntry", "networking", hosts=["*"], ports=[PORT]),
            ["spec.hosts[0]"],
        ),
        (
            istio(
                "ServiceEntry",
                "networking",
                hosts=["a"],
                ports=[PORT, {**PORT, "name": "b"}],
                resolution="DNS",
                addresses=["10.0.0.0/8"],
                endpoints=[{"ports": {"a": 1}}],
                workloadSelector={},
            ),
            ["spec", "spec.addresses", "spec.ports[1].number", "spec.endpoints[0].address"],
        ),
        (
            istio("ServiceEntry", "networking", hosts=["a"], endpoints=[{"address": "1.1.1.1"}]),
            ["spec.endpoints"],
        ),
        (
            istio("WorkloadEntry", "networking", address="unix:///a", ports={"a": 1}),
            ["spec.ports"],
        ),
        (gateway({}, {"port": 81}), []),
        (gateway({}, {}), ["spec.listeners[1]"]),
        (gateway({"tls": {"options": {"a": "b"}}}), ["spec.listeners[0].tls"]),
        (gateway({"protocol": "TLS"}), ["spec.listeners[0].tls"]),
        (gateway({"protocol": "TLS", "tls": {"mode": "Passthrough"}}), []),
        (gateway({"protocol": "HTTPS", "tls": {}}), ["spec.listeners[0].tls"]),
        (gateway({"protocol": "TCP", "hostname": "a"}), ["spec.listeners[0].hostname"]),
        (route(backendRefs=[{"name": "web"}]), ["spec.rules[0].backendRefs[0].port"]),
        (route(filters=[REDIRECT], backendRefs=[{"name": "a", "port": 1}]), ["spec.rules[0]"]),
        (
            route(filters=[{"type": "CORS"}]),
            ["spec.rules[0].filters[0].cors"],
        ),
        (
            route(filters=[{**HEADERS, "cors": {}}]),
            ["spec.rules[0].filters[0].cors"],
        ),
        (route(filters=[HEADERS, HEADERS]), ["spec.rules[0].filters"]),
        (
            route(matches=[{"path": {"value": "a//b"}}]),
            ["spec.rules[0].matches[0].path.value"] * 2,
        ),
        (route(matches=[{"path": {"type": "RegularExpression", "value": "a//b"}}]), []),
        (
            made(
                "gateway.networking.k8s.io/v1",
                "TLSRoute",
                spec={"rules": [{"backendRefs": [{"name": "a", "port": 1}]}]},
            ),
            ["spec.hostnames"],
        ),
        (
            made(
                "gateway.networking.k8s.io/v1",
                "HTTPRoute",
                spec={"parentRefs": [{"name": "g"}, {"name": "g", "kind": "Gateway"}]},
            ),
            ["spec.parentRefs[1]"],
        ),
    ],
)
def test_broken_rule_names_its_field(obj: JsonObject, fields: list[str]) -> None:
    """Each rule finds what breaks it, and nothing else does."""
    assert sorted(broken(obj)) == sorted(fields)


BUILDERS: list[Callable[[], JsonObject]] = [
    deployment,
    lambda: gateway({"tls": {"options": {"a": "b"}}}, {}),
    lambda: route(filters=[REDIRECT, HEADERS], matches=[{"path": {"value": "/a"}}]),
    lambda: istio("PeerAuthentication", selector={}, portLevelMtls={"80": {}}),
    lambda: istio("ServiceEntry", "networking", hosts=["a"], endpoints=[{"address": "a"}]),
    lambda: made(*SERVICE, spec={"ports": [{"port": 80}]}),
]


@given(builder=st.sampled_from(BUILDERS), data=st.data())
@settings(max_examples=300, deadline=None)
def test_rules_never_raise_when_fields_are_null_or_gone(
    builder: Callable[[], JsonObject], data: st.DataObject
) -> None:
    """A field may be absent or null wherever its type allows it."""
    obj = copy.deepcopy(builder())
    places = list(_places(obj))
    for parent, name in data.draw(st.lists(st.sampled_from(places), max_size=3)):
        if data.draw(st.booleans()):
            parent[name] = None
        else:
            parent.pop(name, None)
    obj["apiVersion"], obj["kind"] = builder()["apiVersion"], builder()["kind"]

    broken(obj)


def _places(value: Any) -> Any:
    if isinstance(value, dict):
        for name, inner in list(value.items()):
            yield value, name
            yield from _places(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _places(inner)
