"""Defaults, and what a typed server does not write."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambimesh.local.apiserver.types.defaults import fill, prune
from ambimesh.local.apiserver.types.kinds import KINDS, Kind, by_kind

JsonObject = dict[str, Any]


def filled(api_version: str, kind: str, **rest: object) -> JsonObject:
    """Make an object and fill in its defaults."""
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **rest}
    found = by_kind(api_version, kind)
    assert found is not None
    return fill(found, obj)


def test_fill_service_has_the_defaults_of_a_real_server() -> None:
    """Type, affinity, policy and the target port are given."""
    spec = filled("v1", "Service", spec={"ports": [{"port": 80}]})["spec"]

    assert spec == {
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
        "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}],
    }


def test_fill_load_balancer_has_more_defaults() -> None:
    """What depends on the type of a service is given for that type only."""
    spec = filled("v1", "Service", spec={"type": "LoadBalancer", "ports": [{"port": 80}]})["spec"]

    assert spec["externalTrafficPolicy"] == "Cluster"
    assert spec["allocateLoadBalancerNodePorts"] is True


def test_fill_service_keeps_what_is_set() -> None:
    """A default never overrides."""
    port = {"port": 80, "targetPort": "http", "protocol": "UDP"}
    spec = filled("v1", "Service", spec={"sessionAffinity": "ClientIP", "ports": [port]})["spec"]

    assert spec["ports"] == [port]
    assert spec["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}


def test_fill_pod_has_the_defaults_of_a_real_server() -> None:
    """Pod, container, port and probe."""
    container = {
        "name": "c",
        "image": "nginx:1",
        "ports": [{"containerPort": 80}],
        "readinessProbe": {"httpGet": {"port": 80}},
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}},
    }
    spec = filled("v1", "Pod", spec={"containers": [container]})["spec"]

    [made] = spec.pop("containers")
    assert spec == {
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "enableServiceLinks": True,
        "serviceAccountName": "default",
        "serviceAccount": "default",
    }
    assert made == {
        "name": "c",
        "image": "nginx:1",
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
        "resources": {
            "limits": {"cpu": "1", "memory": "1Gi"},
            "requests": {"cpu": "500m", "memory": "1Gi"},
        },
        "readinessProbe": {
            "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
    }


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
    ],
)
def test_fill_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    """An image that may change is pulled always."""
    pod = filled("v1", "Pod", spec={"containers": [{"name": "c", "image": image}]})

    assert pod["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_fill_deployment_has_the_defaults_of_a_real_server() -> None:
    """One replica, rolling; the template has the defaults of a pod, but no account."""
    template = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = filled("apps/v1", "Deployment", spec={"template": template})["spec"]

    assert (spec["replicas"], spec["revisionHistoryLimit"]) == (1, 10)
    assert spec["progressDeadlineSeconds"] == 600
    assert spec["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"},
    }
    assert spec["template"]["spec"]["restartPolicy"] == "Always"
    assert "serviceAccountName" not in spec["template"]["spec"]


def test_fill_deployment_recreate_has_no_rolling_update() -> None:
    """The default belongs to the default strategy."""
    spec = {"strategy": {"type": "Recreate"}, "template": {"spec": {"containers": []}}}

    assert filled("apps/v1", "Deployment", spec=spec)["spec"]["strategy"] == {"type": "Recreate"}


def test_fill_secret_moves_text_into_data() -> None:
    """``stringData`` is written and never shown."""
    secret = filled("v1", "Secret", stringData={"a": "b"}, data={"c": "ZA=="})

    assert secret["type"] == "Opaque"
    assert secret["data"] == {"a": "Yg==", "c": "ZA=="}
    assert "stringData" not in secret


def test_fill_namespace_has_its_name_as_label() -> None:
    """Selectors of namespaces go by that label."""
    labels = filled("v1", "Namespace")["metadata"]["labels"]

    assert labels == {"kubernetes.io/metadata.name": "x"}


def test_fill_route_has_the_defaults_of_its_definition() -> None:
    """Defaults inside of defaults, as for a CRD."""
    refs = [{"name": "web", "port": 80}]
    spec = filled(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        spec={"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": refs}]},
    )["spec"]

    assert spec["parentRefs"] == [
        {"name": "g", "group": "gateway.networking.k8s.io", "kind": "Gateway"}
    ]
    assert spec["rules"] == [
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "backendRefs": [
                {"name": "web", "port": 80, "group": "", "kind": "Service", "weight": 1}
            ],
        }
    ]


def test_prune_typed_object_loses_what_go_does_not_write() -> None:
    """Nulls, empty maps and empty lists go; empty structs and map values stay."""
    kind = by_kind("v1", "Pod")
    assert kind is not None
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "labels": {}, "finalizers": [], "creationTimestamp": None},
        "spec": {
            "containers": [{"name": "c", "env": [], "resources": {"limits": {}}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "securityContext": {},
            "nodeSelector": {},
            "bogus": {"kept": [None]},
        },
    }

    assert prune(kind, pod) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x"},
        "spec": {
            "containers": [{"name": "c", "resources": {}}],
            "volumes": [{"name": "v", "emptyDir": {}}],
            "securityContext": {},
            "bogus": {"kept": [None]},
        },
    }


def test_prune_custom_object_keeps_what_is_empty() -> None:
    """A rule without conditions is something else than no rule."""
    kind = by_kind("security.istio.io/v1", "AuthorizationPolicy")
    assert kind is not None
    metadata = {"name": "x", "labels": {}}
    spec: JsonObject = {"rules": [{}], "selector": {"matchLabels": {}}, "action": None}

    pruned = prune(kind, {"metadata": metadata, "spec": spec})

    assert pruned["metadata"] == {"name": "x"}
    assert pruned["spec"] == {"rules": [{}], "selector": {"matchLabels": {}}}


LEAF = st.none() | st.booleans() | st.integers() | st.text(max_size=4)
JSON = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "ports", "template", "strategy", "metadata", "containers", "a"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)


@given(
    kind=st.sampled_from(KINDS),
    obj=st.dictionaries(
        st.sampled_from(["metadata", "spec", "status", "data", "stringData", "ports"]), JSON
    ),
)
@settings(max_examples=300, deadline=None)
def test_fill_and_prune_are_total_and_settle(kind: Kind, obj: JsonObject) -> None:
    """Odd values are passed over; a second time changes nothing; the object given stays."""
    before = copy.deepcopy(obj)

    once = prune(kind, fill(kind, obj))

    assert prune(kind, fill(kind, once)) == once
    assert obj == before
