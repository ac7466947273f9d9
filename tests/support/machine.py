"""A machine for lab tests: the fabric, nodes, and pods' sandboxes, each with real processes.

Everything is done through the inits, so that the same tests run as root and as an ordinary user.
"""

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ambimesh.local import podnet
from ambimesh.local.addresses import node_name
from ambimesh.local.home import Home
from ambimesh.local.init.client import InitClient
from ambimesh.local.init.protocol import Exit, Spawn
from ambimesh.local.log_tail import wait_line
from ambimesh.local.machine import Machine

SOURCE = Path(__file__).parents[2] / "src"
ORDINARY_USER = 65534
_OWNER = "test"
_ATTACH = """
import json, sys
from ambimesh.local.podnet import PodNetwork, attach
attach(PodNetwork(**json.loads(sys.argv[1])), sandbox=3)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a program ended, and all it said."""

    exit: Exit
    output: str


@dataclass(slots=True)
class Place:
    """Where programs can be run: an init, and perhaps one of its sandboxes."""

    init: InitClient
    home: Home
    sandbox: str | None = None
    pod: podnet.PodNetwork | None = None
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def start(
        self, *argv: str, descriptors: Mapping[int, int] | None = None, key: str = ""
    ) -> str:
        """Start a program; returns its key."""
        key = key or f"{self.sandbox or 'init'}-{next(self._numbers)}"
        given = descriptors or {}
        await self.init.spawn(
            Spawn(
                key=key,
                owner=_OWNER,
                argv=argv,
                env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE)},
                sandbox=self.sandbox,
                log=str(self.log(key)),
                descriptors=tuple(given),
            ),
            tuple(given.values()),
        )
        return key

    async def run(self, *argv: str, descriptors: Mapping[int, int] | None = None) -> Outcome:
        """Run a program to its end."""
        key = await self.start(*argv, descriptors=descriptors)
        ended = await wait_exit(self.init, key)
        return Outcome(exit=ended, output=self.log(key).read_text())

    async def python(self, code: str, *arguments: str) -> Outcome:
        """Run Python code to its end; it must succeed."""
        outcome = await self.run(sys.executable, "-c", code, *arguments)
        assert outcome.exit.code == 0, outcome.output
        return outcome

    async def serve(self, code: str, *arguments: str) -> str:
        """Start Python code that prints a line when it serves; returns its key."""
        key = await self.start(sys.executable, "-c", code, *arguments)
        await self.wait_for_line(key, "")
        return key

    async def wait_for_line(self, key: str, prefix: str) -> None:
        """Wait until a program has said a line that starts with ``prefix``."""
        async with asyncio.timeout(10):
            await wait_line(self.log(key), prefix.encode(), after=0)

    def log(self, key: str) -> Path:
        """Give the file with what a program said."""
        return self.home.log_file(key.replace("/", "-"))


class LabMachine:
    """A machine under test."""

    def __init__(self, home: Home, machine: Machine) -> None:
        self.home = home
        self.machine = machine

    def fabric(self) -> Place:
        """Give the fabric's namespaces."""
        return Place(self.machine.fabric, self.home)

    def node(self, number: int) -> Place:
        """Give a node's namespaces."""
        return Place(self.machine.nodes[node_name(number)], self.home)

    async def pod(self, node: int, host: int) -> Place:
        """Make a pod's sandbox with its network on a node."""
        place = self.node(node)
        network = podnet.PodNetwork(uid=f"uid-{node}-{host}", node=node, host=host)
        sandbox = await place.init.create_sandbox(network.uid, podnet.SANDBOX_SYSCTLS)
        shape = json.dumps({"uid": network.uid, "node": node, "host": host})
        try:
            done = await place.run(sys.executable, "-c", _ATTACH, shape, descriptors={3: sandbox})
        finally:
            os.close(sandbox)
        assert done.exit.code == 0, done.output
        return Place(place.init, self.home, sandbox=network.uid, pod=network)


@asynccontextmanager
async def started_machine(root: Path, nodes: int) -> AsyncIterator[LabMachine]:
    """Give a machine with nodes 1 to ``nodes``; all of it has ended after the block."""
    home = Home(root)
    home.create()
    machine = await Machine.start(home, range(1, nodes + 1))
    try:
        yield LabMachine(home, machine)
    finally:
        await machine.end()


async def wait_exit(init: InitClient, key: str) -> Exit:
    """Wait for one process, and acknowledge its end."""
    async with asyncio.timeout(20):
        while True:
            states = {state.key: state for state in await init.processes(_OWNER)}
            ended = states[key].exit
            if ended is not None:
                await init.acknowledge(key)
                return ended
            await asyncio.sleep(0.005)


def processes_below(pid: int) -> set[int]:
    """Give all processes below ``pid``, as the machine sees them."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= {int(child), *processes_below(int(child))}
    return found


# -- as an ordinary user -------------------------------------------------------------------


def ordinary_command(python: Path, *arguments: str) -> tuple[str, ...]:
    """Give the command that runs Python as a user without any right."""
    identity = str(ORDINARY_USER)
    drop = ("setpriv", "--reuid", identity, "--regid", identity, "--clear-groups")
    return (*drop, "--no-new-privs", str(python), *arguments)


def make_ordinary_python(folder: Path) -> Path:
    """Make a virtual environment that ordinary users can run, with all our packages.

    The project's own may rest on an interpreter in root's home; then one of the same version
    from the system takes its place.
    """
    base = next(path for path in _interpreters() if _others_may_run(path))
    subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    ours = [path for path in sys.path if path.endswith("site-packages")]
    (site / "ambimesh-test.pth").write_text("\n".join([str(SOURCE), *ours]) + "\n")
    return folder / "bin" / "python"


def _interpreters() -> Sequence[Path]:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    found = (shutil.which(name, path=folder) for folder in os.environ["PATH"].split(":"))
    return [Path(path).resolve() for path in (sys.executable, *found) if path]


def _others_may_run(path: Path) -> bool:
    with suppress(OSError):
        return all(part.stat().st_mode & 0o001 for part in (path, *path.parents))
    return False
