"""The supervisor: starts the machine and the parts of the mesh, keeps them, ends them.

When it dies, however it dies, the kernel ends everything it started (``init/carrier``).
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Never

import structlog

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError, MeshError
from ambimesh.local import bootstrap, preflight
from ambimesh.local.addresses import node_name
from ambimesh.local.components import Component, Plan, standard_plan
from ambimesh.local.exit_board import ExitBoard
from ambimesh.local.home import Home, write_fault
from ambimesh.local.init.client import InitClient, InitError, InitLostError, InitRefusedError
from ambimesh.local.keeper import Keeper, Surroundings
from ambimesh.local.machine import FABRIC, OWNER, Machine, needs_user_namespace
from ambimesh.local.mesh_file import MeshFile, MeshState, ProcessIdentity, remove_leftovers
from ambimesh.local.progress import Progress

_PART_GRACE_SECONDS = 5.0  # for each part of the mesh to end
_LOOK_AGAIN_SECONDS = 0.05  # while pods end
_RETRY_SECONDS = 1.0  # of a status that the API server did not take

log = structlog.get_logger("supervisor")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What mesh to run."""

    home: Home
    nodes: int
    api_port: int  # 0: any
    pod_grace_seconds: float = 10.0  # for all pods together, when the mesh ends
    plan: Callable[[Home, Sequence[str]], Plan] = standard_plan
    open_objects: Callable[[Home], Awaitable[bootstrap.ObjectWriter]] = bootstrap.open_objects
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))


class Supervisor:
    """Owns one mesh."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self._settings = settings
        self._home = settings.home
        self._progress = progress
        self._numbers = range(1, settings.nodes + 1)
        self._nodes = tuple(node_name(number) for number in self._numbers)
        self._environment = preflight.component_environment(settings.environment)
        self._state: MeshState = "starting"
        self._keepers: dict[str, Keeper] = {}
        self._first: ProcessIdentity | None = None
        self._api_port = 0
        self._changed = asyncio.Event()
        self._told: dict[str, bool] = {}  # nodes, and whether the API was told they are ready

    async def run(self, *, started: Callable[[MeshFile], None]) -> None:
        """Run the mesh until cancelled; ``started`` once every part of it is ready.

        Call it on the main thread. Whatever ends it, nothing is left of the mesh.
        Cancellation: pods and parts get time to end; a second one cuts that short.
        Errors: ``MeshError``: it cannot start, or its namespaces ended.
        """
        preflight.check_programs(self._environment)
        self._home.create()
        with preflight.locked(self._home):
            remove_leftovers(self._home)
            with preflight.listen(self._settings.api_port) as listener, _one_error():
                self._api_port = listener.getsockname()[1]
                try:
                    await self._run_machine(listener, started)
                finally:
                    remove_leftovers(self._home)

    async def _run_machine(
        self, listener: socket.socket, started: Callable[[MeshFile], None]
    ) -> None:
        self._write(strict=True)
        with self._progress.step(f"making {len(self._nodes)} nodes"):
            machine = await Machine.start(self._home, self._numbers)
        try:
            if machine.first_pid is not None:
                self._first = ProcessIdentity.of(machine.first_pid)
            self._write(strict=True)
            await self._run_parts(machine, listener, started)
        finally:
            await machine.end()

    async def _run_parts(
        self, machine: Machine, listener: socket.socket, started: Callable[[MeshFile], None]
    ) -> None:
        async with asyncio.TaskGroup() as followers:
            boards = {p: ExitBoard(machine.init_of(p), OWNER) for p in (FABRIC, *self._nodes)}
            for place, board in boards.items():
                followers.create_task(self._follow(place, board), name=f"exits of {place}")
            plan = self._settings.plan(self._home, self._nodes)
            for part in plan.all:
                around = self._surroundings(machine.init_of(part.place), boards, part, listener)
                self._keepers[part.name] = Keeper(part, around, changed=self._changed.set)
            try:
                await self._start_and_keep(plan, started)
            finally:
                self._state = "stopping"
                self._write()
                with self._progress.step("ending pods and parts of the mesh"):
                    await self._stop_parts(machine, plan)
            raise AssertionError  # only cancellation or an error ends it

    async def _start_and_keep(self, plan: Plan, started: Callable[[MeshFile], None]) -> Never:
        async with asyncio.TaskGroup() as keeping:
            await self._start(plan.api)
            objects = await self._settings.open_objects(self._home)
            try:
                with self._progress.step("writing the first objects"):
                    await objects.keep_nodes(self._nodes)
                    await objects.apply(bootstrap.initial_objects(self._numbers))
                keeping.create_task(self._keepers[plan.api.name].keep(), name="keep the API")
                await asyncio.gather(*(self._start(part) for part in plan.rest))
                self._state = "ready"
                await self._publish(objects)
                keeping.create_task(self._publish_forever(objects), name="publish")
                for part in plan.rest:
                    keeping.create_task(self._keepers[part.name].keep(), name=f"keep {part.name}")
                started(self._mesh())
                await asyncio.Event().wait()
            finally:
                await objects.close()
        raise AssertionError  # the wait above is endless

    async def _start(self, part: Component) -> None:
        with self._progress.step(f"starting {part.name}"):
            await self._keepers[part.name].start()

    async def _follow(self, place: str, board: ExitBoard) -> None:
        try:
            await board.run()
        except InitLostError as error:
            problem = catalogue.MESH_ENDED.problem(place=place, log=self._home.log_file(FABRIC))
            raise EnvironmentFaultError(problem) from error

    # -- the end ---------------------------------------------------------------------------

    async def _stop_parts(self, machine: Machine, plan: Plan) -> None:
        """End node agents, then pods, then what they all talk to. A lost machine has ended."""
        agents = [part for part in plan.rest if part.place != FABRIC]
        others = [part for part in plan.all if part.place == FABRIC]
        with suppress(InitError):
            await self._stop(agents)
            await asyncio.gather(*(self._stop_pods(init) for init in machine.nodes.values()))
            await self._stop(others)

    async def _stop(self, parts: Sequence[Component]) -> None:
        keepers = [self._keepers[part.name] for part in parts]
        await asyncio.gather(*(keeper.stop(_PART_GRACE_SECONDS) for keeper in keepers))

    async def _stop_pods(self, init: InitClient) -> None:
        """Ask everything on a node to end, and wait as long as the grace period is."""
        for process in await init.processes():
            if process.owner != OWNER and process.exit is None:
                with suppress(InitRefusedError):  # it has ended meanwhile
                    await init.signal(process.key, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.pod_grace_seconds):
                while await _runs_pods(init):  # noqa: ASYNC110  # no event says "all"
                    await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    # -- what others see -------------------------------------------------------------------

    async def _publish(self, objects: bootstrap.ObjectWriter) -> bool:
        """Write mesh.json and the status of the nodes; tell whether all of it was taken."""
        self._changed.clear()
        self._write()
        for number, node in zip(self._numbers, self._nodes, strict=True):
            keeper = self._keepers.get(node)
            ready = keeper is not None and keeper.status.state == "ready"
            if self._told.get(node) == ready:
                continue
            self._told.pop(node, None)
            if await _told(objects, number, ready=ready):
                self._told[node] = ready
        return len(self._told) == len(self._nodes)

    async def _publish_forever(self, objects: bootstrap.ObjectWriter) -> Never:
        """Publish what changes, and again after a while what was not taken."""
        while True:
            all_taken = await self._publish(objects)
            with suppress(TimeoutError):
                async with asyncio.timeout(None if all_taken else _RETRY_SECONDS):
                    await self._changed.wait()

    def _mesh(self) -> MeshFile:
        own = ProcessIdentity.of(os.getpid())
        assert own is not None
        return MeshFile(
            state=self._state,
            supervisor=own,
            first=self._first,
            rootless=needs_user_namespace(),
            api_port=self._api_port,
            nodes=self._nodes,
            components=tuple(keeper.status for keeper in self._keepers.values()),
        )

    def _write(self, *, strict: bool = False) -> None:
        """Write mesh.json. A disk that is full later on does not end a running mesh."""
        try:
            self._mesh().write(self._home)
        except OSError as error:
            if strict:
                raise write_fault(self._home, error) from error
            log.warning("mesh.json cannot be written", error=str(error))

    def _surroundings(
        self,
        init: InitClient,
        boards: Mapping[str, ExitBoard],
        part: Component,
        listener: socket.socket,
    ) -> Surroundings:
        return Surroundings(
            init=init,
            board=boards[part.place],
            log_file=self._home.log_file(part.name),
            env=self._environment,
            descriptors=(listener.fileno(),) if part.takes_listener else (),
        )


async def _runs_pods(init: InitClient) -> bool:
    """Tell whether anything runs on a node that is not a part of the mesh."""
    return any(p.exit is None for p in await init.processes() if p.owner != OWNER)


async def _told(objects: bootstrap.ObjectWriter, number: int, *, ready: bool) -> bool:
    reason = "NodeAgentReady" if ready else "NodeAgentNotReady"
    try:
        await objects.apply([bootstrap.node_status(number, ready=ready, reason=reason)])
    except MeshError as error:
        log.warning("node status not written", node=node_name(number), error=error.problem.text)
        return False
    return True


@contextmanager
def _one_error() -> Iterator[None]:
    """Let the error that a person can act on out of the groups of tasks it comes in."""
    try:
        yield
    except BaseExceptionGroup as group:
        known = list(_mesh_errors(group))
        if not known:
            raise
        raise known[0] from group


def _mesh_errors(group: BaseExceptionGroup[BaseException]) -> Iterator[MeshError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _mesh_errors(error)
        elif isinstance(error, MeshError):
            yield error
