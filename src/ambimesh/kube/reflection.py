"""What one watch has told: a state machine without I/O.

It says what to ask the API server next and is told what came of it. Between the two it keeps
the objects: complete once synced, and from then on never less than one consistent view.
Source: Kubernetes "API concepts", sections on watch, bookmarks, streaming lists and 410.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, Literal, TypeVar

from ambimesh.kube.meta import Resource

R = TypeVar("R", bound=Resource)
Key = tuple[str, str]  # (namespace, name)

INITIAL_EVENTS_END: Final = (
    "k8s.io/initial-events-end"  # annotation of the bookmark that ends a list
)
PAGE_OBJECTS: Final = 500  # as kubectl and client-go: bounds the memory of one answer

EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class Ask(StrEnum):
    """The three requests a reflection can want."""

    STREAMING_LIST = "streaming list"  # a watch that begins with everything there is
    LIST = "list"  # one page
    WATCH = "watch"  # what happens after a known version


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The next request, as query parameters of the collection."""

    ask: Ask
    parameters: Mapping[str, str]

    @property
    def is_stream(self) -> bool:
        """Whether the answer is a stream of events."""
        return self.ask is not Ask.LIST


class Reflection(Generic[R]):
    """The objects of one collection, as last told.

    Invariants: ``objects`` is never a mixture of an old list and a new one; a new list takes
    the place of the old at once, and what is missing in it counts as deleted.
    """

    def __init__(self) -> None:
        self.objects: dict[Key, R] = {}
        self.synced = False
        self._version = ""  # where to watch from; empty: list first
        self._continue = ""
        self._incoming: dict[Key, R] | None = None  # a list under way
        self._streams_lists = True

    @property
    def is_listing(self) -> bool:
        """Whether a list is under way."""
        return self._incoming is not None

    def next_request(self) -> Request:
        """Say what to ask now. Asking twice gives the same answer."""
        if self._version:
            return Request(ask=Ask.WATCH, parameters=_watch(resourceVersion=self._version))
        if self._streams_lists:
            parameters = _watch(
                sendInitialEvents="true", resourceVersionMatch="NotOlderThan", resourceVersion=""
            )
            return Request(ask=Ask.STREAMING_LIST, parameters=parameters)
        page = {"limit": str(PAGE_OBJECTS)}
        if self._continue:
            page["continue"] = self._continue
        return Request(ask=Ask.LIST, parameters=page)

    def begin(self) -> None:
        """Note that the request was sent. A streaming list starts over; a list goes on."""
        if not self._version and (self._streams_lists or self._incoming is None):
            self._incoming = {}

    def page(self, items: Iterable[R], *, version: str, continue_: str) -> frozenset[Key]:
        """Take one page of a list; return the keys that changed, if it was the last page."""
        incoming = self._incoming if self._incoming is not None else {}
        incoming.update((item.key, item) for item in items)
        self._incoming = incoming
        self._continue = continue_
        return frozenset() if continue_ else self._replace(version)

    def event(self, event: EventType, item: R) -> frozenset[Key]:
        """Take one event of a watch; return the keys that changed in ``objects``."""
        if event == "BOOKMARK":
            return self._bookmark(item)
        if self._incoming is not None:
            _store(self._incoming, event, item)
            return frozenset()
        self._version = item.metadata.resource_version or self._version
        if event != "DELETED" and self.objects.get(item.key) == item:
            return frozenset()
        _store(self.objects, event, item)
        return frozenset((item.key,))

    def gone(self) -> None:
        """Note status 410: the version is too old to watch from, or the list to continue."""
        self._restart()

    def streaming_lists_refused(self) -> None:
        """Note that this server does not stream lists; page through them instead."""
        self._streams_lists = False
        self._restart()

    def absent(self) -> frozenset[Key]:
        """Note that the server does not have the kind: an empty collection, for now."""
        self._restart()
        return self._replace("")

    def interrupted(self) -> None:
        """Note a broken or ended answer: a watch resumes, a list starts over."""
        if self._incoming is not None:
            self._restart()

    def _restart(self) -> None:
        self._version = ""
        self._continue = ""
        self._incoming = None

    def _bookmark(self, item: R) -> frozenset[Key]:
        version = item.metadata.resource_version
        if self._incoming is None:
            self._version = version or self._version
            return frozenset()
        if item.metadata.annotations.get(INITIAL_EVENTS_END) == "true":
            return self._replace(version)
        return frozenset()

    def _replace(self, version: str) -> frozenset[Key]:
        old, new = self.objects, self._incoming or {}
        changed = {key for key, item in new.items() if old.get(key) != item}
        changed.update(old.keys() - new.keys())
        self.objects = new
        self.synced = True
        self._incoming = None
        self._continue = ""
        self._version = version
        return frozenset(changed)


def _store(objects: dict[Key, R], event: EventType, item: R) -> None:
    if event == "DELETED":
        objects.pop(item.key, None)
    else:
        objects[item.key] = item


def _watch(**parameters: str) -> dict[str, str]:
    return {"watch": "true", "allowWatchBookmarks": "true", **parameters}
