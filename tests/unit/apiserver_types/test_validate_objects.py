"""Validation of objects by their types."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambimesh.local.apiserver.types.kinds import KINDS, Kind, by_kind
from ambimesh.local.apiserver.types.language import Struct, child, item
from ambimesh.local.apiserver.types.validate import Cause, check, duplicates

JsonObject = dict[str, Any]

SERVICE: JsonObject = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
}
DEPLOYMENT: JsonObject = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "i"}]},
        },
    },
}
POLICY: JsonObject = {
    "apiVersion": "security.istio.io/v1",
    "kind": "AuthorizationPolicy",
    "metadata": {"name": "p"},
    "spec": {"action": "DENY", "rules": [{"from": [{"source": {"principals": ["a"]}}]}]},
}
PEERS: JsonObject = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "p"},
    "spec": {"mtls": {"mode": "STRICT"}},
}
ROUTE: JsonObject = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "r"},
    "spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}]},
}


def kind_of(obj: JsonObject) -> Kind:
    """Find the kind of an object."""
    kind = by_kind(obj["apiVersion"], obj["kind"])
    assert kind is not None
    return kind


def changed(obj: JsonObject, path: str, value: object) -> JsonObject:
    """Give a copy in which one field has another value; ``None`` for a path makes none."""
    made = copy.deepcopy(obj)
    *parents, last = [int(part) if part.isdecimal() else part for part in path.split("/")]
    here: Any = made
    for part in parents:
        here = here[part] if isinstance(part, int) else here.setdefault(part, {})
    here[last] = value
    return made


def causes(obj: JsonObject) -> list[Cause]:
    """Give what is wrong with an object."""
    return list(check(kind_of(obj), obj).causes)


@pytest.mark.parametrize("obj", [SERVICE, DEPLOYMENT, POLICY, PEERS, ROUTE])
def test_check_usual_object_has_nothing_to_say(obj: JsonObject) -> None:
    """Manifests as people write them pass, without warnings."""
    checked = check(kind_of(obj), obj, "Warn")

    assert checked.causes == ()
    assert checked.warnings == ()


@pytest.mark.parametrize(
    ("obj", "path", "value", "field", "message"),
    [
        (
            DEPLOYMENT,
            "spec/replicas",
            "three",
            "spec.replicas",
            'Invalid value: "string": spec.replicas in body must be of type integer: "string"',
        ),
        (
            POLICY,
            "spec/action",
            1,
            "spec.action",
            'Invalid value: "integer": spec.action in body must be of type string: "integer"',
        ),
        (
            POLICY,
            "spec/rules/0/from/0/source/principals",
            "a",
            "spec.rules[0].from[0].source.principals",
            (
                'Invalid value: "string": spec.rules[0].from[0].source.principals in body must be of'
                ' type array: "string"'
            ),
        ),
        (
            SERVICE,
            "metadata/labels",
            ["a"],
            "metadata.labels",
            'Invalid value: "array": metadata.labels in body must be of type object: "array"',
        ),
        (
            SERVICE,
            "metadata/labels",
            {"a": True},
            "metadata.labels.a",
            'Invalid value: "boolean": metadata.labels.a in body must be of type string: "boolean"',
        ),
        (
            SERVICE,
            "spec/ports/0/targetPort",
            1.5,
            "spec.ports[0].targetPort",
            (
                'Invalid value: "number": spec.ports[0].targetPort in body must be of type integer or'
                ' string: "number"'
            ),
        ),
        (
            POLICY,
            "spec/action",
            "FORBID",
            "spec.action",
            'Unsupported value: "FORBID": supported values: "ALLOW", "DENY", "AUDIT", "CUSTOM"',
        ),
        (
            PEERS,
            "spec/mtls/mode",
            "strict",
            "spec.mtls.mode",
            (
                'Unsupported value: "strict": supported values: "UNSET", "DISABLE", "PERMISSIVE",'
                ' "STRICT"'
            ),
        ),
        (
            SERVICE,
            "spec/ports/0/protocol",
            "HTTP",
            "spec.ports[0].protocol",
            'Unsupported value: "HTTP": supported values: "TCP", "UDP", "SCTP"',
        ),
        (
            SERVICE,
            "spec/ports/0/port",
            70000,
            "spec.ports[0].port",
            "Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
        (SERVICE, "spec/ports/0/port", None, "spec.ports[0].port", "Required value"),
        (
            DEPLOYMENT,
            "spec/replicas",
            -1,
            "spec.replicas",
            "Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            DEPLOYMENT,
            "spec/template/spec/containers/0/resources/limits",
            {"cpu": "lots"},
            "spec.template.spec.containers[0].resources.limits.cpu",
            'Invalid value: "lots": must be a quantity, such as 500m or 1Gi',
        ),
        (
            ROUTE,
            "spec/rules/0/timeouts/request",
            "10 seconds",
            "spec.rules[0].timeouts.request",
            (
                'Invalid value: "10 seconds": must be a duration of whole numbers, such as 1m30s or'
                " 500ms"
            ),
        ),
        (
            ROUTE,
            "spec/hostnames",
            ["Example.com"],
            "spec.hostnames[0]",
            (
                'Invalid value: "Example.com": must be a host name in lower case, such as example.com'
                " or *.example.com"
            ),
        ),
        (ROUTE, "spec", None, "spec", "Required value"),
        (
            POLICY,
            "spec/targetRefs",
            [{"kind": "Service", "name": "a"}] * 17,
            "spec.targetRefs",
            "Too many: 17: must have at most 16 items",
        ),
    ],
)
def test_check_wrong_value_names_path_and_expected_type(
    obj: JsonObject, path: str, value: object, field: str, message: str
) -> None:
    """What a person reads tells which field is wrong and what it should be."""
    [cause] = causes(changed(obj, path, value))

    assert (cause.field, cause.message) == (field, message)


def test_check_number_with_a_point_is_an_integer_when_it_is_whole() -> None:
    """JSON has one kind of number; Go reads 3.0 into an integer field."""
    assert causes(changed(DEPLOYMENT, "spec/replicas", 3.0)) == []


def test_check_unknown_field_is_kept_and_reported() -> None:
    """Warn reports, Strict refuses, Ignore is silent; the object is the same in all."""
    obj = changed(changed(SERVICE, "spec/bogus", 1), "spec/ports/0/prot", "TCP")
    kind = kind_of(obj)

    warned = check(kind, obj, "Warn")
    refused = check(kind, obj, "Strict")
    ignored = check(kind, obj, "Ignore")

    assert warned.obj == obj
    assert set(warned.warnings) == {
        'unknown field "spec.bogus"',
        'unknown field "spec.ports[0].prot"',
    }
    assert warned.causes == ()
    assert {cause.field for cause in refused.causes} == {"spec.bogus", "spec.ports[0].prot"}
    assert (ignored.warnings, ignored.causes) == ((), ())


def test_check_partial_configuration_need_not_have_required_fields() -> None:
    """Server-side apply sends parts; wrong types in them are refused all the same."""
    kind = kind_of(DEPLOYMENT)
    head = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}

    assert check(kind, {**head, "spec": {"replicas": 1}}, is_whole=False).causes == ()
    assert check(kind, {**head, "spec": {"replicas": "1"}}, is_whole=False).causes != ()


def test_check_repeated_item_of_a_keyed_list_is_refused_for_custom_kinds() -> None:
    """Two listeners of one name could not be told apart by any later apply."""
    listener = {"name": "a", "port": 80, "protocol": "HTTP"}
    obj = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "g"},
        "spec": {"gatewayClassName": "c", "listeners": [listener, {**listener, "port": 81}]},
    }

    assert [(cause.reason, cause.field) for cause in causes(obj)] == [
        ("FieldValueDuplicate", "spec.listeners[1]")
    ]


def test_duplicates_are_named_with_their_path() -> None:
    """A plain decoder takes the last of repeated names silently; Strict wants to know."""
    text = b'{"data": {"a": "1", "a": "2"}, "list": [{"x": 1, "x": 2}], "kind": 1, "kind": 2}'

    assert duplicates(text) == (
        'duplicate field "data.a"',
        'duplicate field "list[0].x"',
        'duplicate field "kind"',
    )
    assert duplicates(b'{"a": {"b": 1}, "c": {"b": 1}}') == ()
    for broken in (b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError, match=r".*"):
            duplicates(broken)


NAMES = sorted(
    {"bogus"}.union(*(kind.schema.fields for kind in KINDS), *(["a", "metadata", "spec", "name"],))
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def guided(data: st.DataObject, type_: Any, depth: int = 0) -> object:
    """Draw a value that has the shape of its type more often than not."""
    if depth > 6 or data.draw(st.integers(0, 9)) == 0:
        return data.draw(JSON)
    if isinstance(type_, Struct):
        names = data.draw(st.lists(st.sampled_from(sorted(type_.fields)), max_size=4, unique=True))
        return {name: guided(data, child(type_, name), depth + 1) for name in names}
    if hasattr(type_, "ownership"):
        return [guided(data, item(type_), depth + 1) for _ in range(data.draw(st.integers(0, 2)))]
    if hasattr(type_, "item"):
        return {"a": guided(data, type_.item, depth + 1)}
    choices = getattr(type_, "choices", ())
    return data.draw(st.sampled_from(choices) if choices else JSON)


@given(kind=st.sampled_from(KINDS), data=st.data())
@settings(max_examples=400, deadline=None)
def test_check_never_raises_and_never_changes_the_object(kind: Kind, data: st.DataObject) -> None:
    """Whatever JSON comes, there is an answer, and the object is as it was."""
    obj: Any = guided(data, kind.schema)
    before = copy.deepcopy(obj)

    checked = check(kind, obj, data.draw(st.sampled_from(["Strict", "Warn", "Ignore"])))

    assert checked.obj is obj
    assert obj == before
