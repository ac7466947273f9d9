"""Lists: selectors, pages, versions, and slices small enough that nobody waits for them."""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime

from ambimesh.local.apiserver.http.message import Answer, Request, Response, Streamed
from ambimesh.local.apiserver.http.render import View
from ambimesh.local.apiserver.http.selection import read_number, read_selection, read_version
from ambimesh.local.apiserver.selectors import Selection
from ambimesh.local.apiserver.status import StatusError, bad_request, expired, invalid_field
from ambimesh.local.apiserver.store.entry import Entry, JsonObject, Key, encode
from ambimesh.local.apiserver.store.snapshot import PageExpiredError, Snapshots
from ambimesh.local.apiserver.store.store import Store
from ambimesh.local.apiserver.types.kinds import Kind

# What is done between two turns of the loop: about 10 ms of work each.
_SELECT_SLICE = 5000
_JOIN_SLICE = 2000
_PRINT_SLICE = 100


@dataclass(frozen=True, slots=True)
class Page:
    """Some entries of one state of a resource, and how to go on."""

    entries: list[Entry]
    metadata: JsonObject


class Lister:
    """Answers lists from the committed state."""

    def __init__(self, store: Store, snapshots: Snapshots, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._snapshots = snapshots
        self._clock = clock

    async def answer(self, kind: Kind, namespace: str, request: Request) -> Answer:
        """List the objects that a request is about.

        Errors: StatusError 400, 410, 422, 504.
        """
        view = View(kind, request)
        selection = read_selection(kind, namespace, request)
        page = await self._page(kind, selection, request)
        small = _PRINT_SLICE if not view.is_plain else _JOIN_SLICE
        chunks = self._body(view, page)
        if len(page.entries) > small:
            return Streamed(chunks)
        return Response(b"".join([chunk async for chunk in chunks]))

    async def select(self, kind: Kind, selection: Selection) -> list[Entry]:
        """Give the committed entries that are selected, in order."""
        shelf = self._store.shelves[kind.resource]
        name = selection.fields.required("metadata.name")
        if name and (selection.namespace or not kind.namespaced):
            named = shelf.committed.get(Key(selection.namespace, name))
            return [named] if named is not None and selection.matches(named) else []
        entries = shelf.snapshot(selection.namespace)
        if not selection.is_filtered:
            return entries
        found: list[Entry] = []
        for start in range(0, len(entries), _SELECT_SLICE):
            if start:
                await asyncio.sleep(0)
            part = entries[start : start + _SELECT_SLICE]
            found.extend(entry for entry in part if selection.matches(entry))
        return found

    async def _page(self, kind: Kind, selection: Selection, request: Request) -> Page:
        limit = read_number(request, "limit")
        token, start = "", 0
        if text := request.query.get("continue"):
            token, start = _read_continue(text)
            try:
                snapshot = self._snapshots.find(token)
            except PageExpiredError:
                raise expired(
                    "The provided continue parameter is too old to display a consistent list"
                    " result. You can start a new list without the continue parameter."
                ) from None
            version, entries = snapshot.version, snapshot.entries
        else:
            self._require_version(kind, request)
            version = self._store.version
            entries = await self.select(kind, selection)
        metadata: JsonObject = {"resourceVersion": str(version)}
        end = start + limit if limit else len(entries)
        if end < len(entries):
            token = token or self._snapshots.keep(version, entries)
            metadata["continue"] = _write_continue(token, end)
            if not selection.is_filtered:
                metadata["remainingItemCount"] = len(entries) - end
        return Page(entries[start:end], metadata)

    def _require_version(self, kind: Kind, request: Request) -> None:
        wanted = read_version(request)
        match = request.query.get("resourceVersionMatch", "")
        if match and not request.query.get("resourceVersion"):
            told = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
            raise invalid_field(kind, "", "resourceVersionMatch", told, "FieldValueForbidden")
        if match == "Exact" and wanted < self._store.version:
            raise expired(f"The provided resource version is too old: {wanted}")
        if wanted > self._store.version:
            raise too_large(wanted, self._store.version)

    async def _body(self, view: View, page: Page) -> AsyncGenerator[bytes, None]:
        kind, entries, now = view.kind, page.entries, self._clock()
        if view.is_table:
            async for chunk in self._table(view, page):
                yield chunk
            return
        list_kind, api_version = f"{kind.kind}List", kind.api_version
        if view.is_partial:
            list_kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        head = encode({"kind": list_kind, "apiVersion": api_version, "metadata": page.metadata})
        yield head[:-1] + b',"items":['
        step = _JOIN_SLICE if view.is_plain else _PRINT_SLICE
        for start in range(0, len(entries), step):
            if start:
                yield b","
                await asyncio.sleep(0)
            part = entries[start : start + step]
            yield b",".join([view.entry(entry, now) for entry in part])
        yield b"]}"

    async def _table(self, view: View, page: Page) -> AsyncGenerator[bytes, None]:
        now = self._clock()
        empty = view.table([], now, page.metadata)
        empty.pop("rows", None)
        yield encode(empty)[:-1] + b',"rows":['
        for start in range(0, len(page.entries), _PRINT_SLICE):
            if start:
                yield b","
                await asyncio.sleep(0)
            part = [entry.read() for entry in page.entries[start : start + _PRINT_SLICE]]
            yield encode(view.table(part, now, {})["rows"])[1:-1]
        yield b"]}"


def too_large(wanted: int, current: int) -> StatusError:
    """Answer for a version from the future."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(
        504,
        f"Too large resource version: {wanted}, current: {current}",
        details={"causes": [cause], "retryAfterSeconds": 1},
    )


def _write_continue(token: str, start: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([token, start]).encode()).decode()


def _read_continue(text: str) -> tuple[str, int]:
    try:
        token, start = json.loads(base64.urlsafe_b64decode(text))
    except (ValueError, TypeError) as error:
        raise bad_request(f"continue key is not valid: {error}") from error
    if not isinstance(token, str) or not isinstance(start, int) or start < 0:
        raise bad_request("continue key is not valid: it is not one of ours")
    return token, start
