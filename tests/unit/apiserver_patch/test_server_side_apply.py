"""Server-side apply: what holds for every history."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambimesh.local.apiserver.apply.fields import ApplyError
from ambimesh.local.apiserver.apply.ownership import Applied, Conflicts, server_side_apply, update
from ambimesh.local.apiserver.types.defaults import fill, prune
from ambimesh.local.apiserver.types.kinds import Kind, by_kind

JsonObject = dict[str, Any]

TIME = "2026-01-01T00:00:00Z"
LATER = "2026-01-02T00:00:00Z"


def kind_named(api_version: str, kind: str) -> Kind:
    """Find a kind that is there."""
    found = by_kind(api_version, kind)
    assert found is not None
    return found


SERVICE = kind_named("v1", "Service")
GATEWAY = kind_named("gateway.networking.k8s.io/v1", "Gateway")


def service(**spec: Any) -> JsonObject:
    """Make a configuration of a service."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec}


def applied(
    old: JsonObject | None, config: JsonObject, manager: str = "a", *, force: bool = False
) -> JsonObject:
    """Apply where no conflict is expected."""
    kind = kind_named(config["apiVersion"], config["kind"])
    made = server_side_apply(old, config, kind=kind, manager=manager, time=TIME, force=force)
    assert isinstance(made, Applied), made
    return made.obj


def ports(obj: JsonObject) -> list[int]:
    """Give the port numbers of a service, in order."""
    return [port["port"] for port in obj.get("spec", {}).get("ports", [])]


NUMBERS = st.lists(st.sampled_from([80, 81, 82, 83]), unique=True, max_size=4)


@st.composite
def configurations(draw: st.DrawFn, names: str = "abc") -> JsonObject:
    """Draw a configuration of a service."""
    labels = draw(st.dictionaries(st.sampled_from(names), st.sampled_from("xy"), max_size=2))
    spec: JsonObject = {}
    if numbers := draw(NUMBERS):
        spec["ports"] = [
            {"port": n, "protocol": "TCP", "name": draw(st.sampled_from("pq"))} for n in numbers
        ]
    if selector := draw(st.dictionaries(st.sampled_from("st"), st.sampled_from("xy"))):
        spec["selector"] = selector
    metadata: JsonObject = {"name": "s", **({"labels": labels} if labels else {})}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


@given(config=configurations(), before=configurations())
@settings(max_examples=200)
def test_apply_is_idempotent(config: JsonObject, before: JsonObject) -> None:
    """A second apply of the same configuration changes nothing, not even a time."""
    live = applied(applied(None, before), config)
    stored = prune(SERVICE, fill(SERVICE, live))

    again = server_side_apply(stored, config, kind=SERVICE, manager="a", time=LATER)

    assert again == Applied(obj=stored)


@given(config=configurations())
@settings(max_examples=200)
def test_apply_nothing_after_something_removes_it(config: JsonObject) -> None:
    """What a manager owned alone and no longer sends is removed, containers included."""
    live = applied(None, config)

    left = applied(live, service())

    assert "labels" not in left["metadata"]
    assert not left.get("spec")


@given(config=configurations())
@settings(max_examples=100)
def test_apply_keeps_defaults_that_nobody_owns(config: JsonObject) -> None:
    """Removing what was applied leaves what the server gave."""
    stored = prune(SERVICE, fill(SERVICE, applied(None, config)))

    left = applied(stored, service())

    assert left["spec"]["type"] == "ClusterIP"


@given(mine=configurations("ab"), theirs=configurations("cd"))
@settings(max_examples=200)
def test_two_managers_without_overlap_never_conflict(mine: JsonObject, theirs: JsonObject) -> None:
    """Each keeps what it has, and each can leave without taking the other's along."""
    mine["spec"].pop("selector", None)
    for port in theirs["spec"].get("ports", []):
        port["port"] += 1000

    both = applied(applied(None, mine, "a"), theirs, "b")
    left = applied(both, service(), "a")

    assert sorted(ports(both)) == sorted(ports(mine) + ports(theirs))
    assert ports(left) == ports(theirs)
    assert left["metadata"].get("labels") == theirs["metadata"].get("labels")
    assert left.get("spec", {}).get("selector") == theirs["spec"].get("selector")


@given(history=st.lists(st.tuples(configurations(), st.sampled_from("abm")), max_size=5))
@settings(max_examples=200, deadline=None)
def test_apply_with_force_always_wins(history: list[tuple[JsonObject, str]]) -> None:
    """With force every apply succeeds, and the object has what was applied, in its order."""
    live: JsonObject | None = None
    for config, manager in history:
        before = copy.deepcopy((live, config))
        if manager == "m" and live is not None:
            new = {**live, "spec": {**live.get("spec", {}), **config["spec"]}}
            live = update(live, new, kind=SERVICE, manager="m", time=TIME)
            continue
        made = applied(live, config, manager, force=True)
        assert (live, config) == before
        wanted = config["spec"].get("ports", [])
        order = [p["port"] for p in made.get("spec", {}).get("ports", []) if p in wanted]
        assert order == [port["port"] for port in wanted]
        made["metadata"]["uid"] = "u"
        live = made


def test_apply_same_value_is_shared() -> None:
    """Two managers that want the same own it together; it stays until both leave."""
    one = applied(None, service(externalName="x"), "a")
    two = applied(one, service(externalName="x"), "b")

    without_a = applied(two, service(), "a")
    without_both = applied(without_a, service(), "b")

    assert without_a["spec"] == {"externalName": "x"}
    assert not without_both.get("spec")


def test_apply_other_value_conflicts_and_names_the_field() -> None:
    """Without force nothing is taken from others."""
    live = applied(None, service(ports=[{"port": 80, "targetPort": 1}]), "a")

    made = server_side_apply(
        live,
        service(ports=[{"port": 80, "targetPort": 2}]),
        kind=SERVICE,
        manager="b",
        time=TIME,
    )

    assert isinstance(made, Conflicts)
    [conflict] = made.conflicts
    assert conflict.message == 'conflict with "a"'
    assert conflict.field == '.spec.ports[port=80,protocol="TCP"].targetPort'
    assert made.message == f'Apply failed with 1 conflict: conflict with "a": {conflict.field}'


def test_apply_conflict_with_an_update_names_version_and_door() -> None:
    """Who made the change, and how, is part of the message."""
    live = applied(None, service(externalName="x"))
    live["metadata"]["uid"] = "u"
    new = {**live, "spec": {"externalName": "y"}}
    changed = update(live, new, kind=SERVICE, manager="m", subresource="scale", time=TIME)

    made = server_side_apply(
        changed, service(externalName="x"), kind=SERVICE, manager="a", time=TIME
    )

    assert isinstance(made, Conflicts)
    assert made.conflicts[0].message == 'conflict with "m" with subresource "scale" using v1'


def test_apply_puts_a_default_into_the_key() -> None:
    """A port without protocol is the TCP port, so it meets the one that says so."""
    live = applied(None, service(ports=[{"port": 80, "protocol": "TCP", "name": "a"}]))

    made = applied(live, service(ports=[{"port": 80, "name": "b"}]))

    assert made["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "name": "b"}]


def test_apply_atomic_values_are_owned_whole() -> None:
    """A selector is one value: two managers cannot each have a part of it."""
    live = applied(None, service(selector={"s": "x"}), "a")

    made = server_side_apply(
        live, service(selector={"t": "x"}), kind=SERVICE, manager="b", time=TIME
    )

    assert isinstance(made, Conflicts)
    assert [conflict.field for conflict in made.conflicts] == [".spec.selector"]


def test_apply_ignores_status_at_the_main_door_and_all_else_at_the_other() -> None:
    """A user who applies what ``get -o yaml`` gave does not come to own the status."""
    listener = {"name": "l", "port": 80, "protocol": "HTTP"}
    config = {
        "apiVersion": GATEWAY.api_version,
        "kind": "Gateway",
        "metadata": {"name": "g"},
        "spec": {"gatewayClassName": "c", "listeners": [listener]},
        "status": {"conditions": [{"type": "Accepted", "status": "True"}]},
    }

    main = applied(None, config)
    door = server_side_apply(
        main, config, kind=GATEWAY, manager="c", subresource="status", time=TIME
    )

    assert "status" not in main
    assert isinstance(door, Applied)
    entry = door.obj["metadata"]["managedFields"][1]
    assert (entry["subresource"], set(entry["fieldsV1"])) == ("status", {"f:status"})
    assert door.obj["status"] == config["status"]


@pytest.mark.parametrize(
    "spec",
    [
        {"ports": [{"port": 80}, {"port": 80, "protocol": "TCP"}]},
        {"ports": ["x"]},
        {"ports": [{"name": "x", "protocol": None, "port": None}] * 2},
    ],
)
def test_apply_items_that_cannot_be_told_apart_are_refused(spec: JsonObject) -> None:
    """A list with two items of one name could never be applied to again."""
    with pytest.raises(ApplyError):
        applied(None, service(**spec))


def test_apply_by_kubectl_takes_over_from_client_side_apply() -> None:
    """The annotation says what client-side apply owned; it is kept in step from then on."""
    annotation = "kubectl.kubernetes.io/last-applied-configuration"
    text = '{"apiVersion":"v1","kind":"Service","spec":{"externalName":"x"}}'
    metadata = {"name": "s", "uid": "u", "annotations": {annotation: text}}
    live = update(
        None,
        {**service(externalName="x"), "metadata": metadata},
        kind=SERVICE,
        manager="kubectl-client-side-apply",
        time=TIME,
    )

    made = applied(live, service(externalName="y"), "kubectl")

    assert made["spec"] == {"externalName": "y"}
    assert '"externalName":"y"' in made["metadata"]["annotations"][annotation]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "ports",
                    "port",
                    "protocol",
                    "selector",
                    "labels",
                    "finalizers",
                    "name",
                    "spec",
                    "a",
                ]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=10,
)
ODD = st.fixed_dictionaries(
    {"metadata": st.fixed_dictionaries({}, optional={"labels": JSON, "finalizers": JSON})},
    optional={"spec": JSON, "status": JSON, "bogus": JSON},
)


@given(kind=st.sampled_from([SERVICE, GATEWAY]), objects=st.lists(ODD, min_size=2, max_size=3))
@settings(max_examples=400, deadline=None)
def test_odd_objects_raise_nothing_but_the_error(kind: Kind, objects: list[JsonObject]) -> None:
    """Unknown fields and odd values come through; only a nameless item is refused."""
    live: JsonObject | None = None
    for number, obj in enumerate(objects):
        try:
            if number % 2:
                live = update(live, obj, kind=kind, manager="u", time=TIME)
            else:
                made = server_side_apply(live, obj, kind=kind, manager="a", time=TIME, force=True)
                assert isinstance(made, Applied)
                live = made.obj
        except ApplyError:
            pass
