"""Exits of an init's processes, each for the one who waits for it."""

import asyncio

from ambimesh.local.init.client import InitClient
from ambimesh.local.init.protocol import Exit


class ExitBoard:
    """Follows the exits of one owner. An exit is acknowledged when it has been taken."""

    def __init__(self, init: InitClient, owner: str) -> None:
        self._init = init
        self._owner = owner
        self._ended: dict[str, Exit] = {}
        self._changed = asyncio.Condition()

    async def run(self) -> None:
        """Follow until cancelled. Errors: ``InitLostError`` at the end of the init."""
        async for ended in self._init.exits(self._owner):
            async with self._changed:
                self._ended[ended.key] = ended
                self._changed.notify_all()

    async def wait(self, key: str) -> Exit:
        """Wait until the process ``key`` has ended; its exit stays on the board."""
        async with self._changed:
            await self._changed.wait_for(lambda: key in self._ended)
        return self._ended[key]

    async def take(self, key: str) -> Exit:
        """Wait until the process ``key`` has ended; its key is free afterwards."""
        ended = await self.wait(key)
        await self._init.acknowledge(key)
        self._ended.pop(key, None)
        return ended
