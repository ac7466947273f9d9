"""What a client of an init hears when the init is gone."""

import asyncio
from pathlib import Path

import pytest

from ambimesh.local.home import Home
from ambimesh.local.init.client import InitClient, InitLostError
from support.machine import started_machine

pytestmark = pytest.mark.lab


async def test_client_without_an_init_is_told(tmp_path: Path) -> None:
    """Nobody listens: that is the error, whether the path exists or not."""
    home = Home(tmp_path)
    home.create()
    with pytest.raises(InitLostError):
        await InitClient.connect(home.init_socket("node-1"))
    home.init_socket("node-1").touch()
    with pytest.raises(InitLostError):
        await InitClient.connect(home.init_socket("node-1"))


async def test_every_waiting_call_hears_of_the_end(tmp_path: Path) -> None:
    """Calls under way, later calls and followers of exits all end with the same error."""
    async with started_machine(tmp_path, nodes=1) as lab:
        node = lab.node(1).init
        exits = node.exits("o")
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(_next_error(exits.__anext__()))
            async with await InitClient.connect(lab.home.init_socket("node-1")) as other:
                await other.shutdown()
        with pytest.raises(InitLostError):
            await node.processes()

    assert isinstance(following.result(), InitLostError)
    assert node.is_lost


async def _next_error(awaitable: object) -> BaseException | None:
    """Wait, and give the error that it ends with."""
    try:
        await awaitable  # type: ignore[misc]  # an awaitable of any kind
    except InitLostError as error:
        return error
    return None
