"""Pages of a list: every page shows the state of the first.

Entries are immutable, so keeping a state costs one reference an object.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ambimesh.local.apiserver.store.entry import Entry

KEEP_SECONDS = 300.0
KEEP_REFERENCES = 2_000_000  # 16 MB of references over all snapshots


class PageExpiredError(Exception):
    """The snapshot that a page belongs to is no longer kept."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The result of one list at one version."""

    version: int
    entries: list[Entry]
    expires: float


class Snapshots:
    """Results of lists that are being read in pages, for some minutes."""

    def __init__(self, clock: Callable[[], float], keep_references: int = KEEP_REFERENCES) -> None:
        self._clock = clock
        self._kept: dict[str, Snapshot] = {}
        self._keep_references = keep_references

    def keep(self, version: int, entries: list[Entry]) -> str:
        """Keep a result; gives the token that names it."""
        token = secrets.token_hex(8)
        self._kept[token] = Snapshot(version, entries, self._clock() + KEEP_SECONDS)
        self._forget()
        return token

    def find(self, token: str) -> Snapshot:
        """Give a kept result.

        Errors: PageExpiredError when it is too old, or from before a restart.
        """
        self._forget()
        if token not in self._kept:
            raise PageExpiredError
        return self._kept[token]

    def _forget(self) -> None:
        now = self._clock()
        total = sum(len(snapshot.entries) for snapshot in self._kept.values())
        for token, snapshot in list(self._kept.items()):  # oldest first
            if snapshot.expires > now and total <= self._keep_references:
                break
            total -= len(snapshot.entries)
            del self._kept[token]
