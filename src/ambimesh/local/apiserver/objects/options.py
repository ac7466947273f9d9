"""What a client may say about a write, and what comes of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ambimesh.local.apiserver.store.entry import JsonObject

Validation = Literal["Strict", "Warn", "Ignore"]
Propagation = Literal["Background", "Foreground", "Orphan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteOptions:
    """How to create or change an object."""

    manager: str = "ambimesh"  # owns the fields that the write sets
    validation: Validation = "Warn"
    dry_run: bool = False
    force: bool = False  # server-side apply takes fields from other managers


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteOptions:
    """How to delete an object."""

    grace_seconds: int | None = None
    propagation: Propagation | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The object as it is after a write, encoded; what to tell the user besides."""

    name: str
    data: bytes
    created: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """The last state of an object that is deleted or is going to be."""

    obj: JsonObject
    gone: bool


def timestamp(moment: datetime) -> str:
    """Write a moment as Kubernetes does: UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
