"""The objects of one resource: what is staged, what is committed, and who watches."""

import asyncio
from bisect import bisect_left, insort
from collections.abc import Iterable

from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, Key
from ambimesh.local.apiserver.store.history import History


class Shelf:
    """Two views of one resource.

    Invariants: ``latest`` is what the next write builds on; ``committed`` is what reads and
    watches see, and is on disk. Only the store changes either.
    """

    def __init__(self, entries: Iterable[Entry], version: int, fields: tuple[str, ...]) -> None:
        self.committed: dict[Key, Entry] = {entry.key: entry for entry in entries}
        self.latest: dict[Key, Entry] = dict(self.committed)
        self.fields = fields  # what field selectors may name, beyond metadata
        self.history = History(version)
        self._keys = sorted(self.committed)
        self._watchers: set[asyncio.Event] = set()

    def snapshot(self, namespace: str = "") -> list[Entry]:
        """Give the committed entries, sorted by namespace and name; of one namespace if named."""
        if not namespace:
            return [self.committed[key] for key in self._keys]
        first = bisect_left(self._keys, Key(namespace, ""))
        after = bisect_left(self._keys, Key(namespace + "\0", ""))
        return [self.committed[key] for key in self._keys[first:after]]

    def publish(self, event: Event) -> None:
        """Make a change visible that is on disk."""
        key = event.entry.key
        if event.kind is EventType.DELETED:
            if self.committed.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]
        else:
            if key not in self.committed:
                insort(self._keys, key)
            self.committed[key] = event.entry
        self.history.append(event)

    def watch(self, changed: asyncio.Event) -> None:
        """Register a watcher; its event is set whenever there is something new to read."""
        self._watchers.add(changed)

    def unwatch(self, changed: asyncio.Event) -> None:
        """Forget a watcher."""
        self._watchers.discard(changed)

    def wake(self) -> None:
        """Tell every watcher that there is something new."""
        for changed in self._watchers:
            changed.set()
