"""The committed events of several resources, for controllers in this process."""

import asyncio
from collections.abc import Iterable

from ambimesh.local.apiserver.store.entry import Event
from ambimesh.local.apiserver.store.history import FellBehindError
from ambimesh.local.apiserver.store.store import Store


class Feed:
    """What happened to some resources since the last read.

    Shape: pairs of resource and event, in order within a resource. The first read gives
    nothing: a controller begins by looking at everything.
    """

    def __init__(self, store: Store, resources: Iterable[str]) -> None:
        self._changed = asyncio.Event()
        self._shelves = {resource: store.shelves[resource] for resource in resources}
        self._cursors = {resource: shelf.history.end for resource, shelf in self._shelves.items()}
        for shelf in self._shelves.values():
            shelf.watch(self._changed)

    def close(self) -> None:
        """Stop watching."""
        for shelf in self._shelves.values():
            shelf.unwatch(self._changed)

    async def wait(self) -> None:
        """Wait until there may be something to read."""
        await self._changed.wait()

    def read(self) -> list[tuple[str, Event]]:
        """Give what happened since the last read.

        Errors: FellBehindError when some of it is lost: look at everything; reading goes on
        from the present state.
        """
        self._changed.clear()
        events: list[tuple[str, Event]] = []
        lost = False
        for resource, shelf in self._shelves.items():
            history = shelf.history
            try:
                found, self._cursors[resource] = history.read(
                    self._cursors[resource], history.end - self._cursors[resource]
                )
            except FellBehindError:
                lost = True
                self._cursors[resource] = history.end
            else:
                events.extend((resource, event) for event in found)
        if lost:
            raise FellBehindError
        return events
