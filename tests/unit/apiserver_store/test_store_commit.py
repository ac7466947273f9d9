"""The store: staged, committed, visible; and undone when the disk does not take it."""

import asyncio
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from ambimesh.local.apiserver.store.entry import Event, EventType, JsonObject, Key
from ambimesh.local.apiserver.store.feed import Feed
from ambimesh.local.apiserver.store.sqlite import Database, DatabaseError
from ambimesh.local.apiserver.store.store import Staged, Store, StoreUnavailableError
from support.apiserver_core import running_store

MAPS = "configmaps"


def _map(name: str, text: str = "") -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "n", "uid": name},
        "data": {"t": text},
    }


def _put(store: Store, name: str, text: str = "", kind: EventType = EventType.ADDED) -> Staged:
    return store.stage(MAPS, kind, Key("n", name), _map(name, text))


async def test_staged_is_latest_at_once_and_committed_when_awaited(tmp_path: Path) -> None:
    """The next write builds on what is staged; readers see only what is on disk."""
    async with running_store(tmp_path / "s.db") as store:
        staged = _put(store, "a")
        shelf = store.shelves[MAPS]

        is_early = Key("n", "a") in shelf.committed
        is_latest = Key("n", "a") in shelf.latest
        entry = await staged

        assert (is_early, is_latest) == (False, True)
        assert shelf.committed[Key("n", "a")] is entry
        assert store.version == entry.version


async def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    """Objects, deletions and the version counter survive."""
    async with running_store(tmp_path / "s.db") as store:
        for name in ("a", "b"):
            await _put(store, name)
        await _put(store, "a", kind=EventType.DELETED)
        version = store.version

    async with running_store(tmp_path / "s.db") as store:
        shelf = store.shelves[MAPS]

        assert [key.name for key in shelf.committed] == ["b"]
        assert store.version == shelf.history.floor == version


async def test_snapshot_is_sorted_and_by_namespace(tmp_path: Path) -> None:
    """Lists come in the order of namespace and name, whatever the order of writes."""
    async with running_store(tmp_path / "s.db") as store:
        for namespace, name in (("b", "x"), ("a", "z"), ("ab", "y"), ("a", "b")):
            obj = _map(name)
            await store.stage(MAPS, EventType.ADDED, Key(namespace, name), obj)

        shelf = store.shelves[MAPS]

        assert [tuple(e.key) for e in shelf.snapshot()] == [
            ("a", "b"), ("a", "z"), ("ab", "y"), ("b", "x"),
        ]  # fmt: skip
        assert [e.key.name for e in shelf.snapshot("a")] == ["b", "z"]


class _FullDisk:
    """Makes commits fail while it is full, as SQLite does on a full disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self.has_refused = threading.Event()
        real = Database.commit

        def commit(database: Database, changes: Sequence[tuple[str, Event]]) -> None:
            if self.is_full:
                self.has_refused.set()
                raise DatabaseError("database or disk is full")
            real(database, changes)

        monkeypatch.setattr(Database, "commit", commit)


async def test_failed_commit_undoes_and_refuses_all_that_builds_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes, creations and deletions on a full disk leave the state as it was."""
    disk = _FullDisk(monkeypatch)
    async with running_store(tmp_path / "s.db") as store:
        kept, gone = await _put(store, "kept", "1"), await _put(store, "gone")
        disk.is_full = True
        failing = [
            _put(store, "kept", "2", EventType.MODIFIED),
            _put(store, "kept", "3", EventType.MODIFIED),
            _put(store, "gone", kind=EventType.DELETED),
            _put(store, "new"),
        ]

        outcomes = await asyncio.gather(*failing, return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 4
        shelf = store.shelves[MAPS]
        assert shelf.latest == shelf.committed == {kept.key: kept, gone.key: gone}


async def test_store_recovers_when_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a refusal writing goes on without a restart, and watchers saw nothing of it."""
    disk = _FullDisk(monkeypatch)
    async with running_store(tmp_path / "s.db") as store:
        feed = Feed(store, [MAPS])
        disk.is_full = True
        with pytest.raises(StoreUnavailableError):
            await _put(store, "lost")
        disk.is_full = False
        await _put(store, "saved")

        assert [event.entry.key.name for _, event in feed.read()] == ["saved"]


async def test_changes_staged_before_the_refusal_is_heard_are_refused_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer may be busy failing while the loop stages on: none of it may be written."""
    disk = _FullDisk(monkeypatch)
    async with running_store(tmp_path / "s.db") as store:
        disk.is_full = True
        first = _put(store, "a")
        assert disk.has_refused.wait(10)  # meanwhile the loop does not turn: it hears nothing
        disk.is_full = False
        second = _put(store, "a", "2", EventType.MODIFIED)

        outcomes = await asyncio.gather(first, second, return_exceptions=True)

        assert [type(outcome) for outcome in outcomes] == [StoreUnavailableError] * 2
        assert store.shelves[MAPS].latest == {}


async def test_second_process_on_the_same_file_is_refused(tmp_path: Path) -> None:
    """Two servers never share a database."""
    async with running_store(tmp_path / "s.db"):
        with pytest.raises(DatabaseError, match="locked"):
            Database(tmp_path / "s.db")


def test_database_of_another_schema_is_refused(tmp_path: Path) -> None:
    """A file that a newer program wrote is not touched."""
    path = tmp_path / "s.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()

    with pytest.raises(DatabaseError, match="schema version 99"):
        Database(path)


async def test_feed_gives_events_of_its_resources_in_order(tmp_path: Path) -> None:
    """A controller reads what happened since it last looked, and nothing else."""
    async with running_store(tmp_path / "s.db") as store:
        await _put(store, "before")
        feed = Feed(store, [MAPS])
        await _put(store, "a")
        await store.stage("secrets", EventType.ADDED, Key("n", "s"), _map("s"))
        await _put(store, "a", "2", EventType.MODIFIED)
        await feed.wait()

        kinds = [(event.kind, event.entry.key.name) for _, event in feed.read()]
        feed.close()

        assert kinds == [(EventType.ADDED, "a"), (EventType.MODIFIED, "a")]
        assert feed.read() == []
