"""Starting and ending the recording of a node's link, from outside of the node."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

from ambimesh.local.exit_board import ExitBoard
from ambimesh.local.home import Home
from ambimesh.local.init.client import InitClient
from ambimesh.local.init.protocol import Spawn
from ambimesh.local.log_tail import size_of, wait_line
from ambimesh.local.nodes import WAN
from ambimesh.local.programs import isolated

START_SECONDS = 10.0
END_SECONDS = 10.0
_NUMBERS = count(1)


@asynccontextmanager
async def recorded(home: Home, node: str, *, link: str = WAN) -> AsyncIterator[Path]:
    """Record what passes a link of a node while the block runs; read the file after it.

    Gives the path that ``link_capture.read_segments`` reads.
    """
    number = next(_NUMBERS)
    path, log = home.run / f"{node}-{number}.frames", home.log_file(f"{node}-recording")
    owner = f"recording/{number}/{id(path)}"
    async with await InitClient.connect(home.init_socket(node)) as init:
        after = size_of(log)
        argv = isolated("ambimesh.local.link_capture", link, str(path))
        await init.spawn(Spawn(key=owner, owner=owner, argv=argv, log=str(log)))
        exits = ExitBoard(init, owner)
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(exits.run())
            async with asyncio.timeout(START_SECONDS):
                await wait_line(log, b"READY", after=after)
            try:
                yield path
            finally:
                await init.signal(owner, signal.SIGTERM)
                async with asyncio.timeout(END_SECONDS):
                    await exits.take(owner)
                following.cancel()
