"""The log behind the store: one SQLite database, written by one thread, synced at every commit."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, Key

SCHEMA_VERSION = 1


class DatabaseError(Exception):
    """The database cannot be opened or written; the text says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One stored object as it lies in the database."""

    resource: str
    key: Key
    version: int
    data: bytes


class Database:
    """One file, held by one process: a second one that opens it is refused.

    Blocking: every method; after `load` only the writer thread may call.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._open(path)
        except sqlite3.Error as error:
            raise DatabaseError(f"cannot open {path}: {error}") from error

    def _open(self, path: Path) -> None:
        self._connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False
        )
        execute = self._connection.execute
        # Exclusive: kept until the process ends, however it ends. Two servers never share a file.
        execute("PRAGMA locking_mode=EXCLUSIVE")
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")  # in WAL mode, FULL syncs at every commit; NORMAL not
        execute(f"PRAGMA journal_size_limit={64 << 20}")
        found = execute("PRAGMA user_version").fetchone()[0]
        if found not in (0, SCHEMA_VERSION):
            raise sqlite3.DatabaseError(
                f"it has schema version {found}, this program reads version {SCHEMA_VERSION}"
            )
        if not found:
            self._create()

    def _create(self) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        execute(
            "CREATE TABLE object(resource TEXT, namespace TEXT, name TEXT, version INTEGER,"
            " data BLOB, PRIMARY KEY(resource, namespace, name)) WITHOUT ROWID"
        )
        execute("CREATE TABLE counter(version INTEGER)")
        execute("INSERT INTO counter VALUES (1)")
        execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        execute("COMMIT")

    def version(self) -> int:
        """Give the last committed version of the store."""
        found: int = self._connection.execute("SELECT version FROM counter").fetchone()[0]
        return found

    def rows(self) -> Iterator[Row]:
        """Read everything, in no particular order."""
        query = "SELECT resource, namespace, name, version, data FROM object"
        for resource, namespace, name, version, data in self._connection.execute(query):
            yield Row(resource, Key(namespace, name), version, data)

    def commit(self, changes: Sequence[tuple[str, Event]]) -> None:
        """Write changes in order, in one transaction that is on disk on return.

        Errors: DatabaseError when nothing of it was written, for example on a full disk.
        """
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._write(changes)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._roll_back()
            raise DatabaseError(f"cannot write {self.path}: {error}") from error

    def _write(self, changes: Iterable[tuple[str, Event]]) -> None:
        execute = self._connection.execute
        version = 0
        for resource, event in changes:
            version = event.version
            if event.kind is EventType.DELETED:
                execute(
                    "DELETE FROM object WHERE resource=? AND namespace=? AND name=?",
                    (resource, *event.entry.key),
                )
            else:
                execute("INSERT OR REPLACE INTO object VALUES (?,?,?,?,?)", _row(resource, event))
        execute("UPDATE counter SET version=?", (version,))

    def _roll_back(self) -> None:
        # A full disk makes SQLite roll back by itself; then there is nothing left to undo.
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file; moves what is in the log into the database."""
        self._connection.close()


def _row(resource: str, event: Event) -> tuple[str, str, str, int, bytes]:
    entry: Entry = event.entry
    return (resource, *entry.key, entry.version, entry.data)
