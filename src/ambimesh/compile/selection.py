"""Which objects a set of labels selects, and the other way round, without looking at all.

Both indexes are keyed by one label pair, so that a change costs what it concerns.
"""

from collections import defaultdict
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

Labels = Mapping[str, str]
Pair = tuple[str, str]
Name = TypeVar("Name", bound=Hashable)


def selects(selector: Labels, labels: Labels) -> bool:
    """Tell whether every label of ``selector`` is among ``labels``; an empty one selects all."""
    return all(labels.get(key) == value for key, value in selector.items())


class LabelIndex(Generic[Name]):
    """Finds labelled objects by selector, within a namespace or everywhere."""

    def __init__(self) -> None:
        self._labels: dict[Name, tuple[str, Labels]] = {}
        self._by_pair: defaultdict[tuple[str, Pair], set[Name]] = defaultdict(set)
        self._by_namespace: defaultdict[str, set[Name]] = defaultdict(set)

    def put(self, name: Name, namespace: str, labels: Labels) -> None:
        """Add an object, or replace its labels."""
        if self._labels.get(name) == (namespace, labels):
            return
        self.remove(name)
        self._labels[name] = (namespace, labels)
        self._by_namespace[namespace].add(name)
        for pair in labels.items():
            self._by_pair[namespace, pair].add(name)

    def remove(self, name: Name) -> None:
        """Forget an object, if it is known."""
        namespace, labels = self._labels.pop(name, ("", {}))
        _discard(self._by_namespace, namespace, name)
        for pair in labels.items():
            _discard(self._by_pair, (namespace, pair), name)

    def labels(self, name: Name) -> Labels:
        """Give the labels of an object; none for an unknown one."""
        return self._labels.get(name, ("", {}))[1]

    def selected(self, namespace: str, selector: Labels) -> set[Name]:
        """Find the objects in ``namespace`` that ``selector`` selects."""
        if not selector:
            return set(self._by_namespace.get(namespace, ()))
        found = [self._by_pair.get((namespace, pair), set()) for pair in selector.items()]
        return set.intersection(*sorted(found, key=len))

    def selected_anywhere(self, selector: Labels) -> set[Name]:
        """Find the objects in any namespace that ``selector`` selects."""
        found: set[Name] = set()
        for namespace in tuple(self._by_namespace):
            found |= self.selected(namespace, selector)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._labels


class SelectorIndex(Generic[Name]):
    """Finds selectors by the labels they select, within a namespace."""

    def __init__(self) -> None:
        self._selectors: dict[Name, tuple[str, Labels]] = {}
        self._by_pair: defaultdict[tuple[str, Pair | None], set[Name]] = defaultdict(set)

    def put(self, name: Name, namespace: str, selector: Labels) -> None:
        """Add a selector, or replace it."""
        if self._selectors.get(name) == (namespace, selector):
            return
        self.remove(name)
        self._selectors[name] = (namespace, selector)
        self._by_pair[namespace, _first_pair(selector)].add(name)

    def remove(self, name: Name) -> None:
        """Forget a selector, if it is known."""
        namespace, selector = self._selectors.pop(name, ("", {}))
        _discard(self._by_pair, (namespace, _first_pair(selector)), name)

    def selecting(self, namespace: str, labels: Labels) -> list[Name]:
        """Find the selectors of ``namespace`` that select ``labels``, in no order."""
        candidates: set[Name] = set(self._by_pair.get((namespace, None), ()))
        for pair in labels.items():
            candidates |= self._by_pair.get((namespace, pair), set())
        return [name for name in candidates if selects(self._selectors[name][1], labels)]


_Index = TypeVar("_Index", bound=Hashable)


def _discard(index: defaultdict[_Index, set[Name]], key: _Index, name: Name) -> None:
    names = index.get(key)
    if names is not None:
        names.discard(name)
        if not names:
            del index[key]


def _first_pair(selector: Labels) -> Pair | None:
    """Choose the pair that a selector is found by: one of those that all it selects must have."""
    return min(selector.items(), default=None)
