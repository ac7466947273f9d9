"""JSON merge patch. Source: RFC 7386, appendix A."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.apiserver.patch.merge_patch import apply


@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_apply_example_of_the_standard(original: Any, patch: Any, result: Any) -> None:
    """The examples of the RFC."""
    before = copy.deepcopy(original)

    assert apply(original, patch) == result
    assert original == before


def difference(old: Any, new: Any) -> Any:
    """Give the merge patch that leads from one value to the other."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return new
    changed = {
        name: difference(old.get(name), value)
        for name, value in new.items()
        if name not in old or old[name] != value
    }
    return {**dict.fromkeys(old.keys() - new.keys()), **changed}


# Without nulls: a merge patch cannot set one.
JSON = st.recursive(
    st.integers() | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", max_size=1), inner),
    max_leaves=10,
)
OBJECT = st.dictionaries(st.text("abc", max_size=1), JSON)


@given(old=OBJECT, new=OBJECT)
def test_apply_difference_gives_the_new_object(old: dict[str, Any], new: dict[str, Any]) -> None:
    """What a client calculates as a difference leads exactly where it wants to go."""
    assert apply(old, difference(old, new)) == new


@given(old=OBJECT, patch=OBJECT)
def test_apply_twice_is_apply_once(old: dict[str, Any], patch: dict[str, Any]) -> None:
    """A patch that is sent again after a lost answer does no harm."""
    once = apply(old, patch)

    assert apply(once, patch) == once
