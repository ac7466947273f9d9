"""Keeps a live copy of one collection of the API server."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

import msgspec
import structlog

from ambimesh.kube.decoding import (
    METADATA,
    PAGE,
    STATUS,
    WATCH_EVENT,
    ObjectDecoder,
    WatchEvent,
)
from ambimesh.kube.errors import (
    ApiRequestError,
    ApiSilentError,
    ApiUnreachableError,
    ExpiredError,
    ObjectNotFoundError,
    ObjectRejectedError,
    Refusal,
    refused,
    words,
)
from ambimesh.kube.meta import Resource
from ambimesh.kube.reflection import Ask, Key, Reflection, Request

R = TypeVar("R", bound=Resource)

_log = structlog.get_logger(__name__)

_STABLE_SECONDS: Final = 5.0  # a watch that lived so long was no failure
_FIRST_ANSWER_SECONDS: Final = 10.0  # the longest a server may take to begin a streaming list
_LOGGED_FAILURES: Final = frozenset((0, 3, 10, 100))  # an outage is a few lines, not a flood


class Collection(Protocol):
    """One collection of the API server, as a reflector asks for it."""

    @property
    def subject(self) -> str:
        """Name the collection, for errors and logs."""

    async def fetch(self, parameters: Mapping[str, str]) -> bytes:
        """Get one answer whole. Errors: ``ApiRequestError``, ``ApiUnreachableError``."""

    def stream(
        self, parameters: Mapping[str, str], *, inactivity_seconds: float
    ) -> AsyncGenerator[bytes, None]:
        """Get an answer line by line.

        Errors: as ``fetch``, and ``ApiSilentError`` when nothing came for so long.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How patient a reflector is."""

    first_retry_seconds: float = 0.1
    last_retry_seconds: float = 10.0
    inactivity_seconds: float = 90.0  # servers send bookmarks about once a minute
    watch_seconds: tuple[int, int] = (300, 600)  # spread, so that watches do not end together


class Reflector(Generic[R]):
    """A live copy of one collection; reading it costs no request.

    Survives everything the API server does: while it is away the last known objects stay. A
    kind that the server does not have is an empty collection until it has. An object that
    cannot be decoded is left out, logged, and listed in ``undecodable``.
    """

    def __init__(
        self, kind: type[R], collection: Collection, *, pacing: Pacing | None = None
    ) -> None:
        self.kind = kind
        self.undecodable: dict[Key, str] = {}  # why each object was left out
        self._collection = collection
        self._decoder = ObjectDecoder(kind)
        self._pacing = pacing or Pacing()
        self._reflection: Reflection[R] = Reflection()
        self._synced = asyncio.Event()
        self._listeners: list[_Listener] = []

    async def run(self, *, started: Callable[[], None]) -> None:
        """Follow the collection until cancelled; call ``started`` once it is complete.

        Errors: none; what the API server does wrong is logged and tried again, with backoff.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name=f"follow {self._collection.subject}")
            await self._synced.wait()
            started()

    async def wait_synced(self) -> None:
        """Wait until the collection was seen complete once."""
        await self._synced.wait()

    @property
    def has_synced(self) -> bool:
        """Whether the collection was seen complete once."""
        return self._synced.is_set()

    def snapshot(self) -> Mapping[Key, R]:
        """Give the objects by ``(namespace, name)``; valid until the caller awaits."""
        return MappingProxyType(self._reflection.objects)

    def get(self, namespace: str, name: str) -> R | None:
        """Give one object, if there is one."""
        return self._reflection.objects.get((namespace, name))

    def changes(self) -> AsyncIterator[frozenset[Key]]:
        """Notify of changes from this call on, coalesced: read the state, nothing is replayed.

        Shape: each item has the keys that changed since the last one. The first comes as soon
        as the collection is complete and has every key there is, be it none.
        """
        listener = _Listener()
        self._listeners.append(listener)
        if self.has_synced:
            listener.notify(self._reflection.objects.keys())
        return listener.iterate(self._listeners)

    async def _follow(self) -> None:
        failures = 0
        while True:
            if await self._attempt(failures):
                failures = 0
            else:
                failures += 1
                await asyncio.sleep(self._pause(failures))

    async def _attempt(self, failures: int) -> bool:
        """Make one request and take its answer; tell whether it got anywhere."""
        request = self._reflection.next_request()
        self._reflection.begin()
        began = asyncio.get_running_loop().time()
        try:
            progress = await self._exchange(request)
        except ObjectNotFoundError:
            self._publish(self._reflection.absent())
            return False
        except (ApiRequestError, ApiUnreachableError, msgspec.DecodeError) as error:
            self._note_failure(request, error, failures)
            return False
        lasted = asyncio.get_running_loop().time() - began
        return progress or lasted > _STABLE_SECONDS

    async def _exchange(self, request: Request) -> bool:
        if not request.is_stream:
            self._take_page(await self._collection.fetch(request.parameters))
            return True
        silence = self._pacing.inactivity_seconds
        if request.ask is Ask.STREAMING_LIST:  # an old server ignores the wish and falls silent
            silence = min(silence, _FIRST_ANSWER_SECONDS)
        seconds = str(random.randint(*self._pacing.watch_seconds))
        parameters = {**request.parameters, "timeoutSeconds": seconds}
        heard = False
        async with aclosing(
            self._collection.stream(parameters, inactivity_seconds=silence)
        ) as lines:
            async for line in lines:
                heard = True
                self._take_event(WATCH_EVENT.decode(line))
        complete = not self._reflection.is_listing
        self._reflection.interrupted()
        return heard and complete

    def _take_page(self, body: bytes) -> None:
        page = PAGE.decode(body)
        decoded = (self._decode(raw) for raw in page.items or ())
        items = [item for item in decoded if item is not None]
        meta = page.metadata
        changed = self._reflection.page(
            items, version=meta.resource_version, continue_=meta.continue_
        )
        self._publish(changed)

    def _take_event(self, event: WatchEvent) -> None:
        match event.type:
            case "ADDED" | "MODIFIED":
                item = self._decode(event.object)
                if item is None:
                    self._publish(self._reflection.event("DELETED", self._skeleton(event.object)))
                else:
                    self._publish(self._reflection.event(event.type, item))
            case "DELETED" | "BOOKMARK":
                skeleton = self._skeleton(event.object)
                self.undecodable.pop(skeleton.key, None)
                self._publish(self._reflection.event(event.type, skeleton))
            case _:
                status = STATUS.decode(event.object)
                raise refused(
                    Refusal(status=status.code, reason=status.reason, message=status.message),
                    subject=self._collection.subject,
                    verb="watch",
                )

    def _decode(self, raw: msgspec.Raw) -> R | None:
        try:
            item = self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            skeleton = self._skeleton(raw)
            self.undecodable[skeleton.key] = str(error)
            _log.error("object left out", object=skeleton.label, error=str(error))
            return None
        if self.undecodable:
            self.undecodable.pop(item.key, None)
        return item

    def _skeleton(self, raw: msgspec.Raw) -> R:
        """Decode no more than whose object it is."""
        return self.kind(metadata=METADATA.decode(raw).metadata)

    def _publish(self, changed: frozenset[Key]) -> None:
        if not self._reflection.synced:
            return
        first = not self._synced.is_set()
        self._synced.set()
        if changed or first:
            for listener in self._listeners:
                listener.notify(changed)

    def _note_failure(self, request: Request, error: Exception, failures: int) -> None:
        if isinstance(error, ExpiredError):
            self._reflection.gone()
        elif request.ask is Ask.STREAMING_LIST and (
            isinstance(error, ObjectRejectedError | ApiSilentError)
        ):
            self._reflection.streaming_lists_refused()
        elif isinstance(error, ObjectRejectedError):
            self._reflection.gone()
        else:
            self._reflection.interrupted()
        if failures in _LOGGED_FAILURES and not isinstance(error, ApiUnreachableError):
            _log.warning(
                "watch interrupted", collection=self._collection.subject, error=words(error)
            )

    def _pause(self, failures: int) -> float:
        longest = self._pacing.last_retry_seconds
        pause: float = min(longest, self._pacing.first_retry_seconds * 2 ** min(failures - 1, 20))
        return pause * random.uniform(0.5, 1.0)


class _Listener:
    """One reader of changes: a set of keys that waits to be taken."""

    def __init__(self) -> None:
        self._keys: set[Key] = set()
        self._wake = asyncio.Event()

    def notify(self, keys: Iterable[Key]) -> None:
        """Add ``keys`` and wake the reader."""
        self._keys.update(keys)
        self._wake.set()

    async def iterate(self, registered: list["_Listener"]) -> AsyncIterator[frozenset[Key]]:
        """Yield what has come together, until the reader leaves."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                keys, self._keys = frozenset(self._keys), set()
                yield keys
        finally:
            registered.remove(self)
