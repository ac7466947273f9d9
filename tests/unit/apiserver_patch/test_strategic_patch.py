"""Strategic merge patch."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambimesh.local.apiserver.patch.error import PatchError
from ambimesh.local.apiserver.patch.strategic import apply
from ambimesh.local.apiserver.types.kinds import by_kind

JsonObject = dict[str, Any]

GOLDEN = Path(__file__).parents[2] / "golden/apiserver/strategic_merge.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())

C1 = {"name": "c1", "image": "a"}
C2 = {"name": "c2", "image": "b"}
C3 = {"name": "c3", "image": "c"}


def patched(spec: JsonObject, patch: JsonObject) -> JsonObject:
    """Patch the spec of a pod; neither is changed."""
    kind = by_kind("v1", "Pod")
    assert kind is not None
    before = copy.deepcopy((spec, patch))
    result = apply({"spec": spec}, {"spec": patch}, kind.schema)
    assert (spec, patch) == before
    made: JsonObject = result["spec"]
    return made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["object"]["kind"])
def test_apply_gives_what_the_real_library_gives(case: dict[str, Any]) -> None:
    """Random objects and patches, results recorded from Kubernetes' own library."""
    obj = case["object"]
    kind = by_kind(obj["apiVersion"], obj["kind"])
    assert kind is not None

    assert apply(obj, case["patch"], kind.schema) == case["expect"]


@pytest.mark.parametrize(
    ("spec", "patch", "expected"),
    [
        (
            {"containers": [C1, C2]},
            {"containers": [{"name": "c2", "image": "new"}]},
            {"containers": [C1, {"name": "c2", "image": "new"}]},
        ),
        (
            {"containers": [C1, C2]},
            {"containers": [{"name": "c1", "$patch": "delete"}]},
            {"containers": [C2]},
        ),
        (
            {"containers": [C1, C2]},
            {"containers": [{"$patch": "replace"}, C3]},
            {"containers": [C3]},
        ),
        (
            {"containers": [C1, C2]},
            {"$setElementOrder/containers": [{"name": "c2"}, {"name": "c1"}]},
            {"containers": [C2, C1]},
        ),
        (
            {"containers": [C1, C2]},
            {
                "$setElementOrder/containers": [{"name": "c3"}, {"name": "c1"}],
                "containers": [C3],
            },
            {"containers": [C3, C1, C2]},
        ),
        (
            {"volumes": [{"name": "v", "emptyDir": {}}]},
            {"volumes": [{"name": "v", "$retainKeys": ["name", "secret"], "secret": {}}]},
            {"volumes": [{"name": "v", "secret": {}}]},
        ),
        (
            {"nodeSelector": {"a": "1"}},
            {"nodeSelector": {"b": "2", "a": None}},
            {"nodeSelector": {"b": "2"}},
        ),
        (
            {"securityContext": {"runAsUser": 1}},
            {"securityContext": {"$patch": "replace"}},
            {"securityContext": {}},
        ),
        (
            {"securityContext": {"runAsUser": 1}},
            {"securityContext": {"$patch": "delete"}},
            {"securityContext": {}},
        ),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "b"}]},
        ),
        ({"bogus": {"a": [1]}}, {"bogus": {"a": [2], "b": 1}}, {"bogus": {"a": [2], "b": 1}}),
    ],
)
def test_apply_directive(spec: JsonObject, patch: JsonObject, expected: JsonObject) -> None:
    """Each directive does what kubectl means by it."""
    assert patched(spec, patch) == expected


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"finalizers": ["b", "c"]}, ["a", "b", "c"]),
        ({"$deleteFromPrimitiveList/finalizers": ["a"]}, ["b"]),
        ({"$setElementOrder/finalizers": ["b", "a"]}, ["b", "a"]),
    ],
)
def test_apply_directive_for_lists_of_strings(patch: JsonObject, expected: list[str]) -> None:
    """Finalizers are merged without repeating any."""
    kind = by_kind("v1", "Pod")
    assert kind is not None

    result = apply({"metadata": {"finalizers": ["a", "b"]}}, {"metadata": patch}, kind.schema)

    assert result["metadata"] == {"finalizers": expected}


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ({"containers": [{"image": "x"}]}, "merge key name"),
        ({"containers": ["x"]}, "merge key name"),
        ({"containers": [{"name": "c1", "$patch": "smash"}]}, "smash"),
        ({"$patch": "smash"}, "smash"),
        ({"$retainKeys": "a"}, "list of fields"),
        ({"$retainKeys": ["a"], "hostname": "x"}, "does not name hostname"),
        ({"$setElementOrder/containers": "x"}, "list of items"),
        ({"$setElementOrder/tolerations": []}, "not a list that is merged"),
        ({"$setElementOrder/containers": [{"name": "x"}], "containers": [C1]}, "in its order"),
        ({"$deleteFromPrimitiveList/x": 1}, "list of values"),
    ],
)
def test_apply_senseless_directive_is_refused(patch: JsonObject, words: str) -> None:
    """A directive that cannot be followed changes nothing."""
    with pytest.raises(PatchError, match=words):
        patched({"containers": [C1]}, patch)


NAMES = st.sampled_from(["containers", "name", "env", "volumes", "a", "nodeSelector"])
DIRECTIVES = st.sampled_from(
    ["$patch", "$retainKeys", "$setElementOrder/containers", "$deleteFromPrimitiveList/a"]
)
JSON = st.recursive(
    st.none() | st.integers(0, 3) | st.sampled_from(["c1", "c2", "delete", "replace"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES | DIRECTIVES, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(spec=st.dictionaries(NAMES, JSON), patch=st.dictionaries(NAMES | DIRECTIVES, JSON))
@settings(max_examples=300)
def test_apply_any_patch_raises_nothing_but_its_error(spec: JsonObject, patch: JsonObject) -> None:
    """Patches come from the network, and stored objects may be odd."""
    with contextlib.suppress(PatchError):
        patched(spec, patch)
