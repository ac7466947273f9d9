"""The pure halves of controllers: slices of a Service, steps of a rollout, places of pods."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.apiserver.controllers.endpoints import MOST_ENDPOINTS, slices_of
from ambimesh.local.apiserver.controllers.rollout import (
    Replicas,
    bare_template,
    limits_of,
    next_sizes,
    template_hash,
)
from ambimesh.local.apiserver.controllers.scheduler import why_not


def _service(**spec: Any) -> dict[str, Any]:
    given = {"ipFamilies": ["IPv4"], "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}
    metadata = {"name": "s", "namespace": "n", "uid": "u", "labels": {"l": "v"}}
    return {"metadata": metadata, "spec": {**given, **spec}}


def _pod(
    name: str = "p", *, ready: bool = True, ip: str = "198.18.1.10", **more: Any
) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    pod: dict[str, Any] = {
        "metadata": {"name": name, "namespace": "n", "uid": f"uid-{name}"},
        "spec": {"nodeName": "node-1", "containers": [{"name": "c"}]},
        "status": {
            "podIP": ip,
            "podIPs": [{"ip": ip}, {"ip": "fd98::1"}],
            "conditions": [condition],
        },
    }
    for section, fields in more.items():
        pod[section] |= fields
    return pod


def test_slice_has_what_clients_read() -> None:
    """Address, conditions, node, pod, port, labels and the owner."""
    (found,) = slices_of(_service(), [_pod()])

    endpoint = found["endpoints"][0]
    assert found["addressType"] == "IPv4"
    assert endpoint["addresses"] == ["198.18.1.10"]
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert endpoint["nodeName"] == "node-1"
    assert endpoint["targetRef"]["uid"] == "uid-p"
    assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert found["metadata"]["labels"]["kubernetes.io/service-name"] == "s"
    assert found["metadata"]["labels"]["l"] == "v"
    assert found["metadata"]["ownerReferences"][0]["controller"]


def test_slices_of_both_families() -> None:
    """Each family has slices of its own addresses."""
    found = slices_of(_service(ipFamilies=["IPv4", "IPv6"]), [_pod()])

    addresses = {each["addressType"]: each["endpoints"][0]["addresses"] for each in found}
    assert addresses == {"IPv4": ["198.18.1.10"], "IPv6": ["fd98::1"]}


def test_conditions_follow_readiness_and_deletion() -> None:
    """Not ready is listed as such; a pod that goes is still serving but not ready."""
    pods = [
        _pod("a", ready=False),
        _pod("b", metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        _pod("c", status={"phase": "Succeeded"}),
        _pod("d", status={"podIP": "", "podIPs": []}),
    ]

    (plain,) = slices_of(_service(), pods)
    (always,) = slices_of(_service(publishNotReadyAddresses=True), pods)

    told = {
        each["targetRef"]["name"]: tuple(each["conditions"].values()) for each in plain["endpoints"]
    }
    assert told == {"a": (False, False, False), "b": (False, True, True)}
    assert all(each["conditions"]["ready"] for each in always["endpoints"])


def test_named_port_is_that_of_each_pod() -> None:
    """Pods that give the name different numbers are in different slices."""
    service = _service(ports=[{"name": "http", "port": 80, "targetPort": "web"}])

    def pod(name: str, number: int) -> dict[str, Any]:
        port = {"name": "web", "containerPort": number}
        return _pod(name, spec={"containers": [{"name": "c", "ports": [port]}]})

    found = slices_of(service, [pod("a", 1), pod("b", 2), pod("c", 1), _pod("without")])

    groups = {
        each["ports"][0]["port"]: [e["targetRef"]["name"] for e in each["endpoints"]]
        for each in found
    }
    assert groups == {1: ["a", "c"], 2: ["b"]}


def test_service_without_pods_has_an_empty_slice() -> None:
    """Readers see that there is nothing, not that nobody looked."""
    (found,) = slices_of(_service(), [])

    assert (found["endpoints"], found["ports"]) == ([], [])


def test_names_are_stable_and_large_services_are_split() -> None:
    """The same slices have the same names; a hundred endpoints fill one."""
    pods = [_pod(f"p{number:03}") for number in range(MOST_ENDPOINTS + 1)]

    first, again = slices_of(_service(), pods), slices_of(_service(), reversed(pods))

    assert first == again
    assert [len(each["endpoints"]) for each in first] == [MOST_ENDPOINTS, 1]
    assert len({each["metadata"]["name"] for each in first}) == 2


@pytest.mark.parametrize(
    ("rolling", "replicas", "surge", "unavailable"),
    [
        ({}, 4, 1, 1),
        ({}, 1, 1, 0),
        ({"maxSurge": 0, "maxUnavailable": 0}, 3, 0, 1),
        ({"maxSurge": "50%", "maxUnavailable": "50%"}, 3, 2, 1),
        ({"maxSurge": 2, "maxUnavailable": 0}, 3, 2, 0),
    ],
)
def test_limits_of_a_rolling_update(
    rolling: dict[str, Any], replicas: int, surge: int, unavailable: int
) -> None:
    """Shares are rounded up for surge and down for what may be missing; never both to nothing."""
    spec = {"replicas": replicas, "strategy": {"rollingUpdate": rolling}}

    limits = limits_of(spec)

    assert (limits.surge, limits.unavailable) == (surge, unavailable)


def test_recreate_waits_until_the_old_pods_have_gone() -> None:
    """Never two versions at once."""
    spec = {"replicas": 2, "strategy": {"type": "Recreate"}}
    new = Replicas("new", 0, 0, 0)

    shrinking = next_sizes(spec, new, [Replicas("old", 2, 2, 2)])
    waiting = next_sizes(spec, new, [Replicas("old", 0, 1, 0)])
    growing = next_sizes(spec, new, [Replicas("old", 0, 0, 0)])

    assert shrinking == {"old": 0}
    assert waiting == {}
    assert growing == {"new": 2}


_LIMIT = st.one_of(st.integers(0, 5), st.sampled_from(["0%", "25%", "60%", "100%"]))


@given(
    st.integers(0, 12), st.lists(st.integers(0, 8), max_size=3), _LIMIT, _LIMIT, st.integers(0, 8)
)
def test_rolling_update_keeps_its_limits_and_ends(
    wanted: int, old_sizes: list[int], surge: Any, unavailable: Any, started: int
) -> None:
    """From any start, with every pod that is asked for becoming available, it gets there."""
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    spec = {"replicas": wanted, "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}
    limits = limits_of(spec)
    sizes = {"new": started, **{f"old{i}": size for i, size in enumerate(old_sizes)}}
    available = dict(sizes)
    for _ in range(100):
        before = sum(available.values())
        step = next_sizes(spec, _replicas("new", sizes, available), [
            _replicas(name, sizes, available) for name in sizes if name != "new"
        ])  # fmt: skip
        if not step and sizes == available:
            break
        grown = sum(size for name, size in step.items() if size > sizes[name])
        sizes |= step
        if grown:
            assert sum(sizes.values()) <= max(wanted + limits.surge, before)
        available = {name: min(available[name], size) for name, size in sizes.items()}
        assert sum(available.values()) >= min(before, wanted - limits.unavailable)
        available = dict(sizes)  # the world catches up

    assert sizes == {"new": wanted, **{f"old{i}": 0 for i in range(len(old_sizes))}}


def _replicas(name: str, sizes: dict[str, int], available: dict[str, int]) -> Replicas:
    return Replicas(name, sizes[name], available[name], available[name])


def test_template_is_named_by_its_content() -> None:
    """The label that holds the name does not change it."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}
    labels = {"a": "b", "pod-template-hash": "x"}

    bare = bare_template({**template, "metadata": {"labels": labels}})

    assert bare == template
    assert template_hash(bare) == template_hash(template)
    assert template_hash({**template, "spec": {}}) != template_hash(template)


def _node(ready: str = "True", **spec: Any) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": "n", "labels": {"disk": "ssd"}}, "spec": spec, "status": status}


@pytest.mark.parametrize(
    ("pod", "node", "words"),
    [
        ({}, _node(), ""),
        ({}, _node(ready="False"), "not ready"),
        ({}, _node(unschedulable=True), "unschedulable"),
        ({"nodeSelector": {"disk": "ssd"}}, _node(), ""),
        ({"nodeSelector": {"disk": "hdd"}}, _node(), "didn't match"),
        ({}, _node(taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]), "untolerated"),
        (
            {"tolerations": [{"key": "k", "value": "v"}]},
            _node(taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            "",
        ),
        (
            {"tolerations": [{"operator": "Exists"}]},
            _node(taints=[{"key": "k", "effect": "NoExecute"}]),
            "",
        ),
        ({}, _node(taints=[{"key": "k", "effect": "PreferNoSchedule"}]), ""),
    ],
)
def test_node_takes_a_pod_or_tells_why_not(
    pod: dict[str, Any], node: dict[str, Any], words: str
) -> None:
    """Readiness, selectors and taints."""
    reason = why_not({"spec": pod}, node)

    assert words in reason
    assert bool(words) == bool(reason)
