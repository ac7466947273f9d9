"""The namespaces of a mesh: the fabric, the nodes in it, and the networks that join them."""

import asyncio
import errno
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.local import wiring
from ambimesh.local.addresses import node_name
from ambimesh.local.home import Home
from ambimesh.local.init import carrier
from ambimesh.local.init.client import InitClient
from ambimesh.local.init.protocol import Exit, Spawn
from ambimesh.local.log_tail import cause_of_end

FABRIC = "fabric"
OWNER = "supervisor"  # of every process that is not a pod's
_WIRING = "wiring"
_CAP_SYS_ADMIN = 21
_REPORT_BYTES = 4096
_FIRST_DESCRIPTOR = 3
_NAMESPACE_STEPS = frozenset({"user namespace", "namespaces", "mounts"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A fabric and its nodes, made by ``start``; they end with the process that made them."""

    fabric: InitClient
    nodes: Mapping[str, InitClient]  # by name
    carrier: subprocess.Popen[bytes]

    @classmethod
    async def start(cls, home: Home, numbers: Sequence[int]) -> "Machine":
        """Make the namespaces, nodes with these numbers, and their networks.

        Call it on the main thread: what it starts dies with the thread.
        Errors: ``EnvironmentFaultError``; then nothing is left.
        """
        process = await _start_carrier(home)
        try:
            fabric = await InitClient.connect(home.init_socket(FABRIC))
            names = [node_name(number) for number in numbers]
            clients = await asyncio.gather(*(_start_node(home, fabric, n) for n in names))
            nodes = dict(zip(numbers, clients, strict=True))
            await _join(home, fabric, nodes)
        except BaseException:
            process.kill()
            process.wait()
            raise
        by_name = {node_name(number): client for number, client in nodes.items()}
        return cls(fabric=fabric, nodes=by_name, carrier=process)

    def init_of(self, place: str) -> InitClient:
        """Give the init of a node, or of the fabric."""
        return self.fabric if place == FABRIC else self.nodes[place]

    @property
    def first_pid(self) -> int | None:
        """Pid of the fabric's init outside its namespaces: when it has ended, all have."""
        pid = self.carrier.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
        return int(children[0]) if children else None

    async def end(self) -> None:
        """End every process and namespace of it. Blocking: until the kernel is done."""
        for client in self.nodes.values():
            client.close()
        await self.fabric.shutdown()
        await asyncio.to_thread(self.carrier.wait)


def needs_user_namespace() -> bool:
    """Tell whether this process lacks the right to make namespaces without a user namespace."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("CapEff:"):
            return os.geteuid() != 0 or not int(line.split()[1], 16) >> _CAP_SYS_ADMIN & 1
    return True


async def _start_carrier(home: Home) -> subprocess.Popen[bytes]:
    rootless = needs_user_namespace()
    reading, writing = os.pipe()
    settings = carrier.Settings(
        socket=str(home.init_socket(FABRIC)),
        hostname=FABRIC,
        parent=os.getpid(),
        user_namespace=rootless,
        report=writing,
    )
    with home.log_file(FABRIC).open("ab") as log:
        process = subprocess.Popen(  # noqa: ASYNC220  # forked by this thread, with which it dies
            carrier.command(settings),
            pass_fds=(writing,),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={},
            start_new_session=True,
        )
    os.close(writing)
    report = carrier.StartReport.decode(await read_pipe(reading))
    if not report.is_ready:
        process.wait()
        raise _refused(report, home, FABRIC, rootless=rootless)
    return process


async def _start_node(home: Home, fabric: InitClient, name: str) -> InitClient:
    reading, writing = os.pipe()
    settings = carrier.Settings(
        socket=str(home.init_socket(name)),
        hostname=name,
        parent=1,  # the fabric's init
        user_namespace=False,
        report=_FIRST_DESCRIPTOR,
    )
    try:
        await fabric.spawn(
            Spawn(
                key=init_key(name),
                owner=OWNER,
                argv=carrier.command(settings),
                descriptors=(_FIRST_DESCRIPTOR,),
                log=str(home.log_file(FABRIC)),
            ),
            [writing],
        )
    finally:
        os.close(writing)
    report = carrier.StartReport.decode(await read_pipe(reading))
    if not report.is_ready:
        raise _refused(report, home, name, rootless=False)
    return await InitClient.connect(home.init_socket(name))


async def _join(home: Home, fabric: InitClient, nodes: Mapping[int, InitClient]) -> None:
    networks = [await client.open_network() for client in nodes.values()]
    numbered = {number: _FIRST_DESCRIPTOR + place for place, number in enumerate(nodes)}
    try:
        await fabric.spawn(
            Spawn(
                key=_WIRING,
                owner=_WIRING,
                argv=wiring.command(numbered),
                descriptors=tuple(numbered.values()),
                log=str(home.log_file(_WIRING)),
            ),
            networks,
        )
    finally:
        for descriptor in networks:
            os.close(descriptor)
    if (await _exit_of(fabric, _WIRING)).code:
        log = home.log_file(_WIRING)
        cause = cause_of_end(log)
        raise EnvironmentFaultError(catalogue.NETWORKS_NOT_MADE.problem(cause=cause, log=log))


async def _exit_of(init: InitClient, owner: str) -> Exit:
    """Wait for the only process of ``owner``."""
    exits = init.exits(owner)
    try:
        ended = await anext(exits)
    finally:
        await exits.aclose()
    await init.acknowledge(ended.key)
    return ended


def init_key(place: str) -> str:
    """Name the process that carries the init of a node."""
    return f"init/{place}"


def _refused(
    report: carrier.StartReport, home: Home, place: str, *, rootless: bool
) -> EnvironmentFaultError:
    """Say in a person's words why an init did not start."""
    cause = f"{report.stage}: {os.strerror(report.errno)}" if report.errno else report.stage
    if report.stage == "killed":
        log = home.log_file(FABRIC)
        problem = catalogue.COMPONENT_NOT_READY.problem(
            cause=cause_of_end(log), component=f"init of {place}", outcome="was killed", log=log
        )
    elif report.errno == errno.ENOSPC and report.stage == "socket":
        problem = catalogue.DISK_FULL.problem(home=home.root)
    elif report.stage == "socket":
        problem = catalogue.HOME_NOT_WRITABLE.problem(cause=cause, home=home.root)
    elif rootless and report.stage in _NAMESPACE_STEPS:
        problem = catalogue.USER_NAMESPACES_CLOSED.problem(
            cause=cause, user=f"with uid {os.geteuid()}"
        )
    else:
        step = {"proc": "own /proc"}.get(report.stage, report.stage)
        problem = catalogue.NAMESPACES_REFUSED.problem(cause=cause, step=step)
    return EnvironmentFaultError(problem)


async def read_pipe(descriptor: int) -> bytes:
    """Read what the other end writes at once, or nothing when it goes; closes the pipe."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
        return os.read(descriptor, _REPORT_BYTES)
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
