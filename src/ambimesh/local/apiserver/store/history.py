"""The recent events of one resource: a watch reads them with a cursor of its own.

There is no queue per watcher. Whoever falls so far behind that the event after its cursor is
gone is told so, and starts again; memory is bounded by this one history.
"""

from typing import NewType

from ambimesh.local.apiserver.store.entry import Event

Cursor = NewType("Cursor", int)

KEEP_EVENTS = 8192
KEEP_BYTES = 32 << 20


class FellBehindError(Exception):
    """The events after a version or a cursor are no longer kept."""


class History:
    """Events in order of version, the oldest dropped when there are too many or too large."""

    def __init__(
        self, floor: int, keep_events: int = KEEP_EVENTS, keep_bytes: int = KEEP_BYTES
    ) -> None:
        self.floor = floor  # every event after this version is here
        self._events: list[Event] = []
        self._dropped = 0  # how many events were dropped before the first of `_events`
        self._bytes = 0
        self._keep_events = keep_events
        self._keep_bytes = keep_bytes

    def append(self, event: Event) -> None:
        """Add the newest event."""
        self._events.append(event)
        self._bytes += event.size_bytes
        # Drop in halves: a list loses its front in one move, amortised to nothing per event.
        if len(self._events) > 2 * self._keep_events or self._bytes > 2 * self._keep_bytes:
            self._drop()

    def _drop(self) -> None:
        first, kept, size = len(self._events), 0, 0
        while first and kept < self._keep_events and size < self._keep_bytes:
            first -= 1
            kept += 1
            size += self._events[first].size_bytes
        if first:
            self.floor = self._events[first - 1].version
            self._dropped += first
            self._bytes = size
            del self._events[:first]

    @property
    def end(self) -> Cursor:
        """The cursor after the newest event."""
        return Cursor(self._dropped + len(self._events))

    def after(self, version: int) -> Cursor:
        """Give the cursor of the first event newer than ``version``.

        Errors: FellBehindError when events after it are no longer kept.
        """
        if version < self.floor:
            raise FellBehindError
        low, high = 0, len(self._events)
        while low < high:
            middle = (low + high) // 2
            if self._events[middle].version <= version:
                low = middle + 1
            else:
                high = middle
        return Cursor(self._dropped + low)

    def read(self, cursor: Cursor, limit: int) -> tuple[list[Event], Cursor]:
        """Give up to ``limit`` events from ``cursor`` on, and the cursor after them.

        Errors: FellBehindError when the next event is no longer kept.
        """
        start = cursor - self._dropped
        if start < 0:
            raise FellBehindError
        events = self._events[start : start + limit]
        return events, Cursor(cursor + len(events))
