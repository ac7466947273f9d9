"""The store: staged in memory, committed by one writer thread in groups, then made visible."""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, JsonObject, Key, encode
from ambimesh.local.apiserver.store.shelf import Shelf
from ambimesh.local.apiserver.store.sqlite import Database, DatabaseError

GROUP_LIMIT = 1000  # changes in one commit; one commit costs one sync, however many it holds


class StoreUnavailableError(Exception):
    """A change could not be saved, and nothing of it is visible; the text says why."""


class Staged:
    """A change on its way to disk; await it to know that it is there."""

    __slots__ = ("entry", "epoch", "event", "future", "resource")

    def __init__(self, resource: str, event: Event, epoch: int) -> None:
        self.resource = resource
        self.event = event
        self.entry = event.entry
        self.epoch = epoch
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.future.add_done_callback(_retrieve)

    def __await__(self) -> Generator[Any, None, Entry]:
        """Wait until the change is on disk; gives the new entry.

        Errors: StoreUnavailableError when it could not be saved.
        """
        # Shielded: whoever waits may be cancelled, the change is on its way all the same.
        yield from asyncio.shield(self.future).__await__()
        return self.entry


def _retrieve(future: asyncio.Future[None]) -> None:
    """Mark a failure as seen: a caller that went away must not make it a warning."""
    if not future.cancelled():
        future.exception()


class Store:
    """All objects of all resources.

    A write reads `Shelf.latest` and calls `stage` in one turn of the loop: that is the whole
    concurrency control. When a commit fails, everything staged and not yet on disk is undone
    and refused, because later changes may build on the lost one.
    """

    def __init__(self, path: Path, resources: Mapping[str, tuple[str, ...]]) -> None:
        """Open the database and load it. ``resources``: field selectors' paths by resource.

        Errors: DatabaseError.
        """
        self._database = Database(path)
        self.version = self._database.version()  # of the last committed change
        self._last_version = self.version  # of the last staged change
        loaded: dict[str, list[Entry]] = {resource: [] for resource in resources}
        for row in self._database.rows():
            if row.resource in loaded:  # a resource that this program no longer knows stays asleep
                fields = resources[row.resource]
                loaded[row.resource].append(Entry(row.key, row.version, row.data, fields))
        self.shelves = {
            resource: Shelf(entries, self.version, resources[resource])
            for resource, entries in loaded.items()
        }
        self._staged: deque[Staged] = deque()
        self._epoch = 0
        self._queue: queue.SimpleQueue[Staged | None] = queue.SimpleQueue()

    async def run(self, *, started: Callable[[], None]) -> None:
        """Commit what is staged until cancelled; on return everything staged is decided."""
        loop = asyncio.get_running_loop()
        writer = threading.Thread(target=self._write, args=(loop,), name="store-writer")
        writer.start()
        started()
        try:
            await loop.create_future()
        finally:
            self._queue.put(None)
            # Joined in the executor: the writer needs the loop to hand over its last group.
            await asyncio.shield(loop.run_in_executor(None, writer.join))

    def stage(self, resource: str, kind: EventType, key: Key, obj: JsonObject) -> Staged:
        """Make ``obj`` the latest state (or, for DELETED, the last state) of ``key``.

        Sets ``metadata.resourceVersion``. Visible to reads and watches once it is on disk.
        """
        shelf = self.shelves[resource]
        self._last_version += 1
        obj["metadata"]["resourceVersion"] = str(self._last_version)
        entry = Entry(key, self._last_version, encode(obj), shelf.fields)
        event = Event(kind, entry, shelf.latest.get(key))
        if kind is EventType.DELETED:
            del shelf.latest[key]
        else:
            shelf.latest[key] = entry
        staged = Staged(resource, event, self._epoch)
        self._staged.append(staged)
        self._queue.put(staged)
        return staged

    def staged(self, resource: str) -> list[Entry]:
        """Give what is staged of a resource and not on disk yet."""
        return [staged.entry for staged in self._staged if staged.resource == resource]

    async def settled(self) -> None:
        """Wait until everything staged so far is on disk.

        Errors: StoreUnavailableError when it could not be saved.
        """
        if self._staged:
            await self._staged[-1]

    def _write(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run in the writer thread: group, commit, hand over."""
        failed_epoch = -1
        while True:
            group, last = self._next_group()
            group = [staged for staged in group if staged.epoch > failed_epoch]
            if group:
                try:
                    self._database.commit([(s.resource, s.event) for s in group])
                except DatabaseError as error:
                    # What the loop stages before it hears of this builds on lost changes:
                    # it carries this epoch, and is skipped.
                    failed_epoch = group[-1].epoch
                    loop.call_soon_threadsafe(self._undo, str(error))
                else:
                    loop.call_soon_threadsafe(self._publish, group)
            if last:
                self._database.close()
                return

    def _next_group(self) -> tuple[list[Staged], bool]:
        group: list[Staged] = []
        waiting = self._queue.get()
        while waiting is not None:
            group.append(waiting)
            if len(group) == GROUP_LIMIT or self._queue.empty():
                return group, False
            waiting = self._queue.get()
        return group, True

    def _publish(self, group: list[Staged]) -> None:
        touched: dict[str, Shelf] = {}
        for staged in group:
            self._staged.popleft()  # groups are committed in the order of staging
            shelf = touched[staged.resource] = self.shelves[staged.resource]
            shelf.publish(staged.event)
            self.version = staged.entry.version
            if not staged.future.done():
                staged.future.set_result(None)
        for shelf in touched.values():
            shelf.wake()

    def _undo(self, cause: str) -> None:
        self._epoch += 1
        lost, self._staged = self._staged, deque()
        for staged in lost:
            shelf, key = self.shelves[staged.resource], staged.entry.key
            if key in shelf.committed:
                shelf.latest[key] = shelf.committed[key]
            else:
                shelf.latest.pop(key, None)
            if not staged.future.done():
                staged.future.set_exception(StoreUnavailableError(cause))
