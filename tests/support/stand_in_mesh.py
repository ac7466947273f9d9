"""A mesh whose parts are stand-ins: run it as a program, in place of ``ambi up``.

Arguments: home, number of nodes, API port, and optionally the descriptor to report to. The parts
do what the supervisor sees of the real ones: they say READY, serve the inherited socket, start
something on their node, and end when asked. A file ``HOME/break-PART`` makes a part end at once.
"""

import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from ambimesh.cli import up
from ambimesh.local.bootstrap import Applied
from ambimesh.local.components import Component, Plan
from ambimesh.local.detached import StartWriter
from ambimesh.local.home import Home
from ambimesh.local.machine import FABRIC
from ambimesh.local.supervisor import Settings

_PRELUDE = """
import os, signal, socket, sys, threading
home, name = sys.argv[1:3]
if os.path.exists(f"{home}/break-{name}"):
    sys.exit(f"{name} is broken")
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
"""
_API = """
print("READY", flush=True)
listener = socket.socket(fileno=3)
while True:
    peer, _ = listener.accept()
    peer.sendall(b"hello")
    peer.close()
"""
_IDLE = """
print("READY", flush=True)
signal.pause()
"""
_NODE = """
import asyncio
from pathlib import Path
from ambimesh.local.init.client import InitClient, InitRefusedError
from ambimesh.local.init.protocol import Spawn
from ambimesh.local.podnet import PodNetwork, SANDBOX_SYSCTLS, attach
POD = "trap 'echo asked to end; exit 0' TERM; echo pod runs; while :; do sleep 0.1; done"

async def main():
    async with await InitClient.connect(Path(f"{home}/run/{name}.init")) as init:
        if "pod" not in await init.sandboxes():
            sandbox = await init.create_sandbox("pod", SANDBOX_SYSCTLS)
            attach(PodNetwork(uid="pod", node=int(name[5:]), host=10), sandbox)
            await init.spawn(Spawn(key="pod", owner="pods", argv=("sh", "-c", POD), sandbox="pod",
                                   env=dict(os.environ), log=f"{home}/log/pod-of-{name}.log"))
        print("READY", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def plan(home: Home, nodes: Sequence[str]) -> Plan:
    """Give the table of stand-ins."""

    def part(name: str, place: str, code: str) -> Component:
        argv = (sys.executable, "-c", _PRELUDE + code, str(home.root), name)
        return Component(
            name=name, place=place, argv=argv, takes_listener=name == "apiserver", ready_seconds=10
        )

    return Plan(
        api=part("apiserver", FABRIC, _API),
        rest=(
            part("controlplane", FABRIC, _IDLE),
            *(part(node, node, _NODE) for node in nodes),
        ),
    )


class FileObjects:
    """Writes what is applied into a file, a line for each object."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def keep_nodes(self, names: Collection[str]) -> None:
        """Do nothing: a stand-in has no earlier mesh."""

    async def apply(self, objects: Sequence[Applied]) -> None:
        """Append the objects."""
        with self._path.open("a") as file:
            for given in objects:
                name = f"{given.kind.KIND.kind} {given.namespace}/{given.name}"
                file.write(json.dumps([name, given.body]) + "\n")

    async def close(self) -> None:
        """Do nothing: nothing is open."""


async def open_objects(home: Home) -> FileObjects:
    """Give the writer of a home."""
    return FileObjects(home.root / "objects.jsonl")


def main() -> int:
    """Run the mesh."""
    home, nodes, port, *report = sys.argv[1:]
    settings = Settings(
        home=Home(Path(home)),
        nodes=int(nodes),
        api_port=int(port),
        pod_grace_seconds=5,
        plan=plan,
        open_objects=open_objects,
    )
    if report:
        return up.run_reporting(settings, StartWriter(int(report[0])))
    return up.run_foreground(settings)


if __name__ == "__main__":
    from ambimesh.diagnostics.problem import MeshError

    try:
        sys.exit(main())
    except MeshError as error:
        sys.stderr.write(error.problem.render() + "\n")
        sys.exit(error.exit_code)
