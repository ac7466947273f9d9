"""The loop that every controller runs in: what changed, which keys that concerns, look again."""

import asyncio
import sys
import traceback
from collections.abc import Callable, Iterable
from typing import Protocol

from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import Event, Key
from ambimesh.local.apiserver.store.feed import Feed
from ambimesh.local.apiserver.store.history import FellBehindError
from ambimesh.local.apiserver.store.store import Store, StoreUnavailableError

RETRY_SECONDS = 1.0
MISTAKE_SECONDS = 60.0


class Reconciler(Protocol):
    """Makes the world match one object at a time; level-triggered.

    Invariants: `reconcile` reads the present state and may be called at any time, any number
    of times, also for what is gone.
    """

    @property
    def resources(self) -> tuple[str, ...]:
        """Name the resources whose changes matter."""
        ...

    def concerned(self, resource: str, event: Event) -> Iterable[Key]:
        """Name what has to be looked at after an event."""
        ...

    def everything(self) -> Iterable[Key]:
        """Name all there is to look at."""
        ...

    async def reconcile(self, key: Key) -> float | None:
        """Look at one; gives after how many seconds to look again without an event.

        Errors: StatusError, StoreUnavailableError: it is looked at again.
        """
        ...


class ControllerLoop:
    """Runs one reconciler."""

    def __init__(
        self, store: Store, reconciler: Reconciler, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._store = store
        self._reconciler = reconciler
        self._retry_seconds = retry_seconds
        self._due: dict[Key, float] = {}  # when, by the loop's clock

    async def run(self, *, started: Callable[[], None]) -> None:
        """Run until cancelled."""
        feed = Feed(self._store, self._reconciler.resources)
        try:
            self._add(self._reconciler.everything())
            started()
            while True:
                self._read(feed)
                for key in self._take_due():
                    await self._reconcile(key)
                    self._read(feed)
                await self._pause(feed)
        finally:
            feed.close()

    def _add(self, keys: Iterable[Key]) -> None:
        now = asyncio.get_running_loop().time()
        for key in keys:
            self._due[key] = now

    def _read(self, feed: Feed) -> None:
        try:
            for resource, event in feed.read():
                self._add(self._concerned(resource, event))
        except FellBehindError:
            self._add(self._reconciler.everything())

    def _concerned(self, resource: str, event: Event) -> Iterable[Key]:
        try:
            return list(self._reconciler.concerned(resource, event))
        except Exception:  # noqa: BLE001 - the boundary of a task, as below
            self._tell_mistake(event.entry.key)
            return self._reconciler.everything()

    def _take_due(self) -> list[Key]:
        now = asyncio.get_running_loop().time()
        due = [key for key, when in self._due.items() if when <= now]
        for key in due:
            del self._due[key]
        return due

    async def _reconcile(self, key: Key) -> None:
        try:
            again = await self._reconciler.reconcile(key)
        except (StatusError, StoreUnavailableError) as error:
            self._tell(key, error)
            again = self._retry_seconds
        except Exception:  # noqa: BLE001 - our mistake about one object is not the API's end
            self._tell_mistake(key)
            again = MISTAKE_SECONDS
        if again is not None:
            when = asyncio.get_running_loop().time() + again
            self._due[key] = min(when, self._due.get(key, when))

    def _tell(self, key: Key, error: StatusError | StoreUnavailableError) -> None:
        """Report a refusal; that an object went or changed meanwhile is none."""
        if isinstance(error, StatusError) and error.code in (404, 409):
            return
        sys.stderr.write(f"{self._name(key)}: {error}; trying again\n")

    def _tell_mistake(self, key: Key) -> None:
        sys.stderr.write(f"{self._name(key)}: {traceback.format_exc()}")

    def _name(self, key: Key) -> str:
        return f"{type(self._reconciler).__name__} {'/'.join(filter(None, key))}"

    async def _pause(self, feed: Feed) -> None:
        """Wait for an event, or for the time at which something is due."""
        if not self._due:
            await feed.wait()
            return
        try:
            async with asyncio.timeout_at(min(self._due.values())):
                await feed.wait()
        except TimeoutError:
            return
