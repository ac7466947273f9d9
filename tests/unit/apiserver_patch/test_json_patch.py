"""JSON patch. Source: RFC 6902, appendix A, whose examples are the first table."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.apiserver.patch.error import PatchError
from ambimesh.local.apiserver.patch.json_patch import apply

A1 = {"op": "add", "path": "/baz", "value": "qux"}
A6 = {"op": "move", "from": "/foo/waldo", "path": "/qux/thud"}
A6_FROM = {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}}
A6_TO = {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}}


@pytest.mark.parametrize(
    ("document", "operation", "expected"),
    [
        ({"foo": "bar"}, A1, {"baz": "qux", "foo": "bar"}),
        (
            {"foo": ["bar", "baz"]},
            {"op": "add", "path": "/foo/1", "value": "qux"},
            {"foo": ["bar", "qux", "baz"]},
        ),
        ({"baz": "qux", "foo": "bar"}, {"op": "remove", "path": "/baz"}, {"foo": "bar"}),
        (
            {"foo": ["bar", "qux", "baz"]},
            {"op": "remove", "path": "/foo/1"},
            {"foo": ["bar", "baz"]},
        ),
        (
            {"baz": "qux", "foo": "bar"},
            {"op": "replace", "path": "/baz", "value": "boo"},
            {"baz": "boo", "foo": "bar"},
        ),
        (A6_FROM, A6, A6_TO),
        (
            {"foo": ["all", "grass", "cows", "eat"]},
            {"op": "move", "from": "/foo/1", "path": "/foo/3"},
            {"foo": ["all", "cows", "eat", "grass"]},
        ),
        ({"baz": "qux"}, {"op": "test", "path": "/baz", "value": "qux"}, {"baz": "qux"}),
        (
            {"foo": "bar"},
            {"op": "add", "path": "/child", "value": {"grandchild": {}}},
            {"foo": "bar", "child": {"grandchild": {}}},
        ),
        ({"foo": "bar"}, {**A1, "xyz": 123}, {"foo": "bar", "baz": "qux"}),
        ({"/": 9, "~1": 10}, {"op": "test", "path": "/~01", "value": 10}, {"/": 9, "~1": 10}),
        (
            {"foo": ["bar"]},
            {"op": "add", "path": "/foo/-", "value": ["abc", "def"]},
            {"foo": ["bar", ["abc", "def"]]},
        ),
        ({"a": 1}, {"op": "replace", "path": "", "value": [2]}, [2]),
        (
            {"a": {"b": 1}},
            {"op": "copy", "from": "/a", "path": "/c"},
            {"a": {"b": 1}, "c": {"b": 1}},
        ),
        ({"a": 1}, {"op": "test", "path": "/a", "value": 1.0}, {"a": 1}),
        ({"": 1}, {"op": "test", "path": "/", "value": 1}, {"": 1}),
    ],
)
def test_apply_operation(document: Any, operation: Any, expected: Any) -> None:
    """Each operation does what the RFC says, and leaves the object given alone."""
    before = copy.deepcopy(document)

    assert apply(document, [operation]) == expected
    assert document == before


@pytest.mark.parametrize(
    ("document", "patch", "words"),
    [
        ({"baz": "qux"}, [{"op": "test", "path": "/baz", "value": "bar"}], "testing value /baz"),
        ({"/": 9, "~1": 10}, [{"op": "test", "path": "/~01", "value": "10"}], "testing value"),
        ({"a": True}, [{"op": "test", "path": "/a", "value": 1}], "testing value /a failed"),
        ({"foo": "bar"}, [{"op": "add", "path": "/baz/bat", "value": 1}], "does not exist"),
        ({"a": 1}, [{"op": "remove", "path": "/b"}], "path /b does not exist"),
        ({"a": 1}, [{"op": "replace", "path": "/b", "value": 1}], "path /b does not exist"),
        ({"a": []}, [{"op": "add", "path": "/a/1", "value": 1}], "no such place"),
        ({"a": []}, [{"op": "add", "path": "/a/01", "value": 1}], "no such place"),
        ({"a": [1]}, [{"op": "remove", "path": "/a/-"}], "does not exist"),
        ({"a": [1]}, [{"op": "remove", "path": "/a/-1"}], "does not exist"),
        ({"a": [1]}, [{"op": "remove", "path": "/a/" + "9" * 5000}], "does not exist"),
        ({"a": {}}, [{"op": "move", "from": "/a", "path": "/a/b"}], "into itself"),
        ({}, [{"op": "spam", "path": "/a"}], "unknown operation"),
        ({}, [{"op": "add", "path": "/a"}], "lacks 'value'"),
        ({}, [{"op": "add", "value": 1}], "lacks 'path'"),
        ({}, [{"op": "add", "path": "a", "value": 1}], "does not start with a slash"),
        ({}, {"op": "add"}, "a list of operations"),
        ({}, ["add"], "is an object"),
    ],
)
def test_apply_impossible_operation_is_refused(document: Any, patch: Any, words: str) -> None:
    """The text tells which part of the patch does not fit."""
    with pytest.raises(PatchError, match=words):
        apply(document, patch)


def test_apply_is_all_or_nothing() -> None:
    """When a later operation fails, the earlier ones leave no trace."""
    document = {"a": {"b": 1}}

    with pytest.raises(PatchError):
        apply(document, [{"op": "remove", "path": "/a/b"}, {"op": "remove", "path": "/x"}])

    assert document == {"a": {"b": 1}}


def test_apply_shares_nothing_with_the_object_or_the_patch() -> None:
    """What is written later into the result must not change the version it came from."""
    document = {"a": {"b": 1}}
    patch = [{"op": "add", "path": "/c", "value": {"d": 1}}]

    result = apply(document, patch)
    result["a"]["b"] = result["c"]["d"] = 2

    assert document == {"a": {"b": 1}}
    assert patch[0]["value"] == {"d": 1}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab~/", max_size=2), inner),
    max_leaves=8,
)
OPERATION = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
    optional={
        "path": st.text("/ab01-~", max_size=6) | JSON,
        "from": st.text("/ab01-~", max_size=6),
        "value": JSON,
    },
)


@given(document=JSON, patch=st.lists(OPERATION | JSON, max_size=4) | JSON)
def test_apply_any_patch_raises_nothing_but_its_error(document: Any, patch: Any) -> None:
    """Patches come from the network."""
    before = copy.deepcopy(document)
    with contextlib.suppress(PatchError):
        apply(document, patch)
    assert document == before
