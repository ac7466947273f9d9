"""Compiled values by name, and which of them changed since they were last taken."""

from collections.abc import Hashable, Iterable, Mapping
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)
Value = TypeVar("Value")


class Table(Generic[Name, Value]):
    """Values that belong to the units they were compiled from.

    Invariant: a value that is compiled anew and comes out equal is no change.
    """

    def __init__(self) -> None:
        self.values: dict[Name, Value] = {}
        self._owned: dict[Hashable, frozenset[Name]] = {}
        self._before: dict[Name, Value | None] = {}  # of what was touched; None: not there

    def replace(self, owner: Hashable, values: Iterable[tuple[Name, Value]]) -> None:
        """Put ``values`` in the place of all that ``owner`` had."""
        new = dict(values)
        for name in self._owned.get(owner, frozenset()) - new.keys():
            self._note(name)
            self.values.pop(name, None)
        for name, value in new.items():
            if self.values.get(name) != value:
                self._note(name)
                self.values[name] = value
        if new:
            self._owned[owner] = frozenset(new)
        else:
            self._owned.pop(owner, None)

    def take_changes(self) -> Mapping[Name, Value | None]:
        """Give what differs from the last time; ``None`` for what is gone."""
        before, self._before = self._before, {}
        now = {name: self.values.get(name) for name in before}
        return {name: value for name, value in now.items() if value != before[name]}

    def _note(self, name: Name) -> None:
        self._before.setdefault(name, self.values.get(name))
