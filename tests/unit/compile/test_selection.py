"""Label indexes answer as looking at everything would."""

from hypothesis import given
from hypothesis import strategies as st

from ambimesh.compile.selection import LabelIndex, SelectorIndex, selects

_VALUE = st.sampled_from("xy")
LABELS = st.fixed_dictionaries({}, optional={"a": _VALUE, "b": _VALUE})
NAMESPACE = st.sampled_from(("one", "two"))
CHANGES = st.lists(st.tuples(st.sampled_from("pqr"), NAMESPACE, st.none() | LABELS), max_size=12)


@given(CHANGES, NAMESPACE, LABELS)
def test_label_index_finds_what_a_selector_selects(
    changes: list[tuple[str, str, dict[str, str] | None]], namespace: str, selector: dict[str, str]
) -> None:
    """For any changes, the objects found are those whose labels match."""
    index: LabelIndex[str] = LabelIndex()
    present: dict[str, tuple[str, dict[str, str]]] = {}
    for name, where, labels in changes:
        if labels is None:
            index.remove(name)
            present.pop(name, None)
        else:
            index.put(name, where, labels)
            present[name] = (where, labels)

    matching = {name for name, (_, labels) in present.items() if selects(selector, labels)}
    here = {name for name in matching if present[name][0] == namespace}
    assert index.selected(namespace, selector) == here
    assert index.selected_anywhere(selector) == matching


@given(CHANGES, NAMESPACE, LABELS)
def test_selector_index_finds_what_selects_labels(
    changes: list[tuple[str, str, dict[str, str] | None]], namespace: str, labels: dict[str, str]
) -> None:
    """For any changes, the selectors found are those that match."""
    index: SelectorIndex[str] = SelectorIndex()
    present: dict[str, tuple[str, dict[str, str]]] = {}
    for name, where, selector in changes:
        if selector is None:
            index.remove(name)
            present.pop(name, None)
        else:
            index.put(name, where, selector)
            present[name] = (where, selector)

    assert set(index.selecting(namespace, labels)) == {
        name
        for name, (where, selector) in present.items()
        if where == namespace and selects(selector, labels)
    }
