"""Runs all controllers of the embedded API."""

import asyncio
from collections.abc import Callable

from ambimesh.local.apiserver.objects.registry import Registry


class Controllers:
    """Every controller, as one service."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def run(self, *, started: Callable[[], None]) -> None:
        """Run until cancelled."""
        started()
        await asyncio.get_running_loop().create_future()
