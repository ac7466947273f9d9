"""Watches: what is there, then what happens, one JSON object a line."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

from ambimesh.local.apiserver.http.list import Lister
from ambimesh.local.apiserver.http.message import Request, Streamed
from ambimesh.local.apiserver.http.render import View, watch_line
from ambimesh.local.apiserver.http.selection import read_number, read_selection, read_version
from ambimesh.local.apiserver.selectors import Selection
from ambimesh.local.apiserver.status import expired, invalid_field
from ambimesh.local.apiserver.store.entry import Event, EventType, JsonObject, encode
from ambimesh.local.apiserver.store.history import Cursor, FellBehindError
from ambimesh.local.apiserver.store.shelf import Shelf
from ambimesh.local.apiserver.store.store import Store
from ambimesh.local.apiserver.types.kinds import Kind

_READ_EVENTS = 500  # encoded between two turns of the loop
_CHUNK_BYTES = 256 << 10
_BOOKMARK_SECONDS = 60.0
_TIMEOUT_SECONDS = (1800.0, 3600.0)  # at random, so that clients do not all come back at once
_INITIAL_EVENTS_END = {"annotations": {"k8s.io/initial-events-end": "true"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one watch is about."""

    view: View
    selection: Selection
    since: int  # 0: begin with what is there
    wants_bookmarks: bool
    wants_initial_end: bool
    timeout_seconds: float


class Watcher:
    """Answers watches; each reads the history of its resource with a cursor of its own."""

    def __init__(
        self,
        store: Store,
        lister: Lister,
        clock: Callable[[], datetime],
        closing: asyncio.Event,
    ) -> None:
        self._store = store
        self._lister = lister
        self._clock = clock
        self._closing = closing

    def answer(self, kind: Kind, namespace: str, request: Request) -> Streamed:
        """Begin a watch.

        Errors: StatusError 400, 422.
        """
        return Streamed(self._lines(read_wish(kind, namespace, request)))

    async def _lines(self, wish: Wish) -> AsyncGenerator[bytes, None]:
        shelf = self._store.shelves[wish.view.kind.resource]
        changed = asyncio.Event()
        shelf.watch(changed)
        try:
            async with aclosing(self._run(wish, shelf, changed)) as lines:
                async for line in lines:
                    yield line
        except FellBehindError:
            told = f"too old resource version: {wish.since} ({shelf.history.floor})"
            yield watch_line("ERROR", encode(expired(told).body()))
        finally:
            shelf.unwatch(changed)

    async def _run(
        self, wish: Wish, shelf: Shelf, changed: asyncio.Event
    ) -> AsyncGenerator[bytes, None]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wish.timeout_seconds
        yield b""  # the headers go out at once, also when nothing happens yet
        if wish.since > self._store.version:
            raise FellBehindError  # a version of another life of this server: list again
        if wish.since and not wish.wants_initial_end:
            cursor = shelf.history.after(wish.since)
        else:
            cursor = shelf.history.end
            async for chunk in self._initial(wish):
                yield chunk
        while not self._closing.is_set():
            changed.clear()
            events, cursor = shelf.history.read(cursor, _READ_EVENTS)
            for chunk in _chunks(self._shown(wish, event) for event in events):
                yield chunk
            if events:
                await asyncio.sleep(0)
                continue
            pause = min(_BOOKMARK_SECONDS, deadline - loop.time())
            if pause <= 0:
                return
            if not await _wait(changed, pause) and wish.wants_bookmarks:
                yield self._bookmark(wish, shelf, cursor, {})

    async def _initial(self, wish: Wish) -> AsyncGenerator[bytes, None]:
        version = self._store.version
        entries = await self._lister.select(wish.view.kind, wish.selection)
        now = self._clock()
        step = _READ_EVENTS
        for start in range(0, len(entries), step):
            part = entries[start : start + step]
            for chunk in _chunks(watch_line("ADDED", wish.view.entry(e, now)) for e in part):
                yield chunk
            await asyncio.sleep(0)
        if wish.wants_initial_end:
            yield self._bookmark_line(wish, version, _INITIAL_EVENTS_END)

    def _bookmark(self, wish: Wish, shelf: Shelf, cursor: Cursor, more: JsonObject) -> bytes:
        # Only the end of the history stands for the version of the whole store.
        if cursor != shelf.history.end:
            return b""
        return self._bookmark_line(wish, self._store.version, more)

    def _bookmark_line(self, wish: Wish, version: int, more: JsonObject) -> bytes:
        kind = wish.view.kind
        obj: JsonObject = {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(version), **more},
        }
        if wish.view.is_plain:
            return watch_line("BOOKMARK", encode(obj))
        if wish.view.is_table:
            table = wish.view.table([], self._clock(), obj["metadata"])
            table["rows"] = [
                {
                    "cells": [],
                    "object": {
                        **obj,
                        "kind": "PartialObjectMetadata",
                        "apiVersion": "meta.k8s.io/v1",
                    },
                }
            ]
            return watch_line("BOOKMARK", encode(table))
        return watch_line("BOOKMARK", wish.view.one(b"", obj, self._clock()))

    def _shown(self, wish: Wish, event: Event) -> bytes:
        kind: EventType | None = event.kind
        if not wish.selection.is_everything:
            kind = seen_as(wish.selection, event)
        return wish.view.line(kind, event, self._clock()) if kind else b""


def seen_as(selection: Selection, event: Event) -> EventType | None:
    """Tell what an event is to someone who sees only what is selected; None for nothing.

    An object that stops being selected is deleted for that watcher, one that starts is added.
    """
    matched = event.old is not None and selection.matches(event.old)
    matches = event.kind is not EventType.DELETED and selection.matches(event.entry)
    if matches:
        return EventType.MODIFIED if matched else EventType.ADDED
    return EventType.DELETED if matched else None


def read_wish(kind: Kind, namespace: str, request: Request) -> Wish:
    """Read what a watch is about from its query.

    Errors: StatusError 400, 422.
    """
    wants_initial = request.query.get("sendInitialEvents")
    match = request.query.get("resourceVersionMatch", "")
    if wants_initial is not None and match != "NotOlderThan":
        told = "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        raise invalid_field(kind, "", "resourceVersionMatch", told, "FieldValueForbidden")
    if match and wants_initial is None:
        told = "Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        raise invalid_field(kind, "", "resourceVersionMatch", told, "FieldValueForbidden")
    timeout = read_number(request, "timeoutSeconds")
    return Wish(
        view=View(kind, request),
        selection=read_selection(kind, namespace, request),
        since=read_version(request),
        wants_bookmarks=request.flag("allowWatchBookmarks"),
        wants_initial_end=request.flag("sendInitialEvents"),
        timeout_seconds=float(timeout) if timeout else random.uniform(*_TIMEOUT_SECONDS),
    )


def _chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Join lines into pieces: large enough to be cheap, small enough for a slow reader."""
    held: list[bytes] = []
    size = 0
    for line in lines:
        held.append(line)
        size += len(line)
        if size >= _CHUNK_BYTES:
            yield b"".join(held)
            held, size = [], 0
    if size:
        yield b"".join(held)


async def _wait(changed: asyncio.Event, seconds: float) -> bool:
    """Wait for a change; False when none came in time."""
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return False
    return True
