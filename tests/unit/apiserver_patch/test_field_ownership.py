"""Who owns which field: histories of updates and applies."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from ambimesh.local.apiserver.apply.fields import ApplyError, dotted, from_tree, to_tree
from ambimesh.local.apiserver.apply.managers import read, write
from ambimesh.local.apiserver.apply.ownership import (
    Applied,
    Conflicts,
    server_side_apply,
    update,
)
from ambimesh.local.apiserver.types.defaults import fill, prune
from ambimesh.local.apiserver.types.kinds import Kind, by_kind

JsonObject = dict[str, Any]

GOLDEN = Path(__file__).parents[2] / "golden/apiserver/field_ownership.json"
HISTORIES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())
TIME = "2026-01-01T00:00:00Z"
LATER = "2026-01-02T00:00:00Z"


def kind_of(obj: JsonObject) -> Kind:
    """Find the kind of an object."""
    kind = by_kind(obj["apiVersion"], obj["kind"])
    assert kind is not None
    return kind


def settled(obj: JsonObject) -> JsonObject:
    """Give the object as the server would store it."""
    kind = kind_of(obj)
    stored = prune(kind, fill(kind, prune(kind, obj)))
    stored["metadata"]["uid"] = "u"
    return stored


def comparable(obj: JsonObject) -> JsonObject:
    """Leave out what the recording does not have: times, the order of entries, status."""
    made: JsonObject = json.loads(json.dumps(obj, sort_keys=True))
    made.pop("status", None)
    entries = made["metadata"].get("managedFields", [])
    for entry in entries:
        entry.pop("time", None)
        entry["fieldsV1"].pop("f:status", None)
    if entries:
        made["metadata"]["managedFields"] = sorted(entries, key=json.dumps)
    made["metadata"].pop("uid", None)
    return made


@pytest.mark.parametrize("history", HISTORIES, ids=lambda history: history["name"])
def test_history_gives_what_the_real_field_manager_gives(history: dict[str, Any]) -> None:
    """Random writes by several managers: objects, owners and conflicts are those recorded."""
    live: JsonObject | None = None
    for step in history["steps"]:
        body, expect = step["body"], step["expect"]
        before = copy.deepcopy((live, body))
        made: Applied | Conflicts
        if step["op"] == "update":
            obj = update(live, body, kind=kind_of(body), manager=step["manager"], time=TIME)
            made = Applied(obj=obj)
        else:
            made = server_side_apply(
                live,
                body,
                kind=kind_of(body),
                manager=step["manager"],
                time=TIME,
                force=step["force"],
            )
        assert (live, body) == before
        if isinstance(made, Conflicts):
            found = sorted([conflict.message, conflict.field] for conflict in made.conflicts)
            assert found == expect["conflicts"]
            assert sorted(made.message.split("\n")) == expect["message"]
            continue
        live = settled(made.obj)
        wanted = expect["object"]
        assert comparable(live) == comparable(wanted)


CONFIG_MAP: JsonObject = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}


def owners(obj: JsonObject) -> dict[str, list[str]]:
    """Give the fields of each manager, dotted."""
    return {
        f"{entry['manager']}/{entry['operation']}": sorted(
            dotted(path) for path in from_tree(entry["fieldsV1"])
        )
        for entry in obj["metadata"].get("managedFields", [])
    }


def created(**data: str) -> JsonObject:
    """Make a config map that manager ``m`` created."""
    obj = {**CONFIG_MAP, "metadata": {"name": "c", "uid": "u"}, "data": data}
    return update(None, obj, kind=kind_of(obj), manager="m", time=TIME)


def test_update_takes_what_it_changes_from_others() -> None:
    """What a write changes belongs to its manager alone; the rest stays where it was."""
    old = created(a="1", b="1")
    new = {**old, "data": {"a": "2", "b": "1", "c": "1"}}

    made = update(old, new, kind=kind_of(new), manager="n", time=LATER)

    assert owners(made) == {"m/Update": [".data", ".data.b"], "n/Update": [".data.a", ".data.c"]}
    assert [entry["time"] for entry in made["metadata"]["managedFields"]] == [TIME, LATER]


def test_update_that_removes_leaves_no_owner() -> None:
    """A field that is gone is nobody's, and a manager without fields is gone."""
    old = created(a="1")
    new = {**old, "data": None}
    new.pop("data")

    made = update(old, new, kind=kind_of(new), manager="n", time=LATER)

    assert "managedFields" not in made["metadata"]


def test_update_that_changes_nothing_keeps_the_times() -> None:
    """Otherwise every repeated write would look like a change."""
    old = created(a="1")

    assert update(old, copy.deepcopy(old), kind=kind_of(old), manager="n", time=LATER) == old


def test_update_takes_managed_fields_that_the_client_wrote() -> None:
    """Kubectl's move to server-side apply rewrites them by a JSON patch."""
    old = created(a="1")
    mine = [
        {
            "manager": "kubectl",
            "operation": "Apply",
            "apiVersion": "v1",
            "time": TIME,
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {"f:a": {}}},
        }
    ]
    new = {**old, "metadata": {**old["metadata"], "managedFields": mine}}

    made = update(old, new, kind=kind_of(old), manager="n", time=LATER)

    assert made["metadata"]["managedFields"] == mine


@pytest.mark.parametrize(
    "damage",
    [
        "text",
        [1],
        [{"manager": "x", "operation": "Guess", "fieldsV1": {}}],
        [{"manager": 1, "operation": "Apply", "fieldsV1": {}}],
        [{"manager": "x", "operation": "Apply", "fieldsType": "FieldsV2"}],
        [{"manager": "x", "operation": "Apply", "fieldsV1": {"data": {}}}],
        [{"manager": "x", "operation": "Apply", "fieldsV1": {"f:data": 1}}],
    ],
)
def test_update_ignores_managed_fields_that_are_none(damage: Any) -> None:
    """A client that does not understand them cannot destroy them."""
    old = created(a="1")
    new = {**old, "metadata": {**old["metadata"], "managedFields": damage}}

    assert update(old, new, kind=kind_of(old), manager="n", time=LATER) == old


def test_update_with_an_empty_entry_stops_tracking() -> None:
    """How a client asks for a new start; the next apply records who was there before."""
    old = created(a="1")
    new = {**old, "metadata": {**old["metadata"], "managedFields": [{}]}}

    made = update(old, new, kind=kind_of(old), manager="n", time=LATER)
    assert "managedFields" not in made["metadata"]

    applied = server_side_apply(
        made, {**CONFIG_MAP, "data": {"b": "1"}}, kind=kind_of(old), manager="a", time=LATER
    )
    assert isinstance(applied, Applied)
    assert owners(applied.obj) == {
        "a/Apply": [".data.b"],
        "before-first-apply/Update": [".data", ".data.a"],
    }


def test_update_through_the_status_door_owns_status_only() -> None:
    """Ownership carries the subresource, so that a controller and a user never collide."""
    kind = by_kind("v1", "Pod")
    assert kind is not None
    spec = {"containers": [{"name": "c"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "uid": "u"}, "spec": spec}
    old = update(None, pod, kind=kind, manager="user", time=TIME)
    new = {**old, "status": {"phase": "Running"}}

    made = update(old, new, kind=kind, manager="user", subresource="status", time=LATER)

    entries = made["metadata"]["managedFields"]
    assert [entry.get("subresource") for entry in entries] == [None, "status"]
    assert entries[1]["fieldsV1"] == {"f:status": {"f:phase": {}}}


def test_managed_fields_do_not_grow_without_end() -> None:
    """The eleventh updater pushes the oldest into a common entry; no field is lost."""
    obj = created(x="0")
    for number in range(15):
        new = {**obj, "data": {**obj["data"], f"f{number}": "1"}}
        obj = update(obj, new, kind=kind_of(new), manager=f"m{number}", time=TIME)

    found = owners(obj)
    assert len(found) == 10
    assert "ancient-changes/Update" in found
    owned = {field for fields in found.values() for field in fields}
    assert owned == {".data", ".data.x", *(f".data.f{number}" for number in range(15))}


def test_fields_v1_round_trips() -> None:
    """What is written can be read again, dots included."""
    paths = {("f:a",), ("f:a", "f:b"), ("f:c", 'k:{"name":"x"}'), ("f:d", 'v:"y"'), ()} - {()}

    assert from_tree(to_tree(paths)) == paths
    assert to_tree(paths)["f:a"] == {".": {}, "f:b": {}}


def test_managed_fields_round_trip_exactly() -> None:
    """The client may compare what it wrote with what it gets."""
    entries = created(a="1")["metadata"]["managedFields"]

    assert write(read(entries)) == entries


def test_dotted_path_is_as_people_read_it() -> None:
    """The form in which a conflict names its field."""
    path = ("f:spec", "f:ports", 'k:{"port":80,"protocol":"TCP"}', "f:targetPort")

    assert dotted(path) == '.spec.ports[port=80,protocol="TCP"].targetPort'
    assert dotted(("f:metadata", "f:finalizers", 'v:"x"')) == '.metadata.finalizers[="x"]'
    assert dotted(("k:broken", "i:0")) == "[broken][0]"


def test_apply_with_managed_fields_is_refused() -> None:
    """A configuration says what is wanted, not who owns it."""
    config = {**CONFIG_MAP, "metadata": {"name": "c", "managedFields": [{"manager": "x"}]}}

    with pytest.raises(ApplyError, match="managedFields"):
        server_side_apply(None, config, kind=kind_of(config), manager="a", time=TIME)


def test_items_of_one_name_in_a_live_object_are_one_value() -> None:
    """A node has an InternalIP of each family, in a list whose key is the type."""
    kind = by_kind("v1", "Node")
    assert kind is not None

    def node(*addresses: str) -> JsonObject:
        listed = [{"type": "InternalIP", "address": address} for address in addresses]
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": "n", "uid": "u"},
            "status": {"addresses": [*listed, {"type": "Hostname", "address": "n"}]},
        }

    label = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": {"a": "b"}}}
    first = update(None, node("10.0.0.1"), kind=kind, manager="m", subresource="status", time=TIME)
    applied = server_side_apply(first, label, kind=kind, manager="a", time=TIME)
    assert isinstance(applied, Applied)
    second = {**applied.obj, "status": node("10.0.0.2", "fd98::1")["status"]}
    made = update(applied.obj, second, kind=kind, manager="n", subresource="status", time=LATER)
    again = server_side_apply(made, label, kind=kind, manager="a", time=LATER)

    assert again == Applied(obj=made)
    assert made["status"] == second["status"]
    assert owners(made)["n/Update"] == ['.status.addresses[type="InternalIP"]']
    assert '.status.addresses[type="Hostname"].address' in owners(made)["m/Update"]
