"""``ambi up``: start a mesh on this machine."""

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import click
import structlog

from ambimesh.cli.mesh_options import find_home, home_option
from ambimesh.diagnostics.problem import ExitCode, MeshError
from ambimesh.local.addresses import MAX_NODES
from ambimesh.local.components import ambi
from ambimesh.local.detached import StartWriter, start_detached
from ambimesh.local.home import Home
from ambimesh.local.mesh_file import MeshFile
from ambimesh.local.progress import Progress
from ambimesh.local.supervisor import Settings, Supervisor

DEFAULT_API_PORT = 6443
_START_SECONDS = 120.0


@click.command("up")
@click.option(
    "--nodes",
    type=click.IntRange(1, MAX_NODES),
    default=1,
    show_default=True,
    help="How many nodes the machine is divided into.",
)
@click.option("--detach", is_flag=True, help="Return when the mesh is ready; it runs on.")
@home_option
@click.option(
    "--api-port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_API_PORT,
    show_default=True,
    help="Port of 127.0.0.1 where the API listens; 0: any that is free.",
)
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=1),
    default=_START_SECONDS,
    show_default=True,
    help="With --detach: how many seconds the start may take.",
)
@click.option("--report-fd", type=int, hidden=True)  # --detach gives it to its other self
def command(
    nodes: int,
    detach: bool,
    home: Path | None,
    api_port: int,
    seconds: float,
    report_fd: int | None,
) -> int:
    """Start a mesh on this machine: API, control plane and nodes, in namespaces of their own.

    Without --detach it runs until Ctrl-C, and then leaves nothing behind. Root is not needed
    where user namespaces are allowed.
    """
    folder = find_home(home)
    if detach:
        return _up_detached(folder, nodes, api_port, seconds)
    settings = Settings(home=folder, nodes=nodes, api_port=api_port)
    if report_fd is None:
        return run_foreground(settings)
    return run_reporting(settings, StartWriter(report_fd))


def run_foreground(settings: Settings) -> int:
    """Run a mesh until a signal ends it; progress goes to standard error."""

    def started(mesh: MeshFile) -> None:
        click.echo(f"READY https://127.0.0.1:{mesh.api_port}")
        _tell_next(settings.home)

    return _run(settings, _say, started)


def run_reporting(settings: Settings, writer: StartWriter) -> int:
    """Run a mesh whose start somebody else is waiting for."""
    try:
        return _run(settings, writer.progress, lambda _: writer.ready())
    except MeshError as error:
        writer.failed(error)
        raise


def _run(
    settings: Settings, report: Callable[[str], None], started: Callable[[MeshFile], None]
) -> int:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    return asyncio.run(_supervise(settings, report, started))


async def _supervise(
    settings: Settings, report: Callable[[str], None], started: Callable[[MeshFile], None]
) -> int:
    """Run until SIGTERM, SIGINT or SIGHUP; a second one ends everything at once."""
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, running.cancel)
    try:
        await Supervisor(settings, Progress(report)).run(started=started)
    except asyncio.CancelledError:
        report("the mesh has ended")
    return ExitCode.OK


def _up_detached(home: Home, nodes: int, api_port: int, seconds: float) -> int:
    home.create()
    again = ambi("up", "--nodes", str(nodes), "--api-port", str(api_port))
    failure = start_detached(
        (*again, "--home", str(home.root), "--report-fd"), home, seconds=seconds, report=_say
    )
    if failure is not None:
        click.echo(failure.text, err=True)
        return failure.code
    _tell_next(home)
    return ExitCode.OK


def _tell_next(home: Home) -> None:
    _say(f"the mesh is ready; next: export KUBECONFIG={home.kubeconfig}")
    _say("then: kubectl get nodes, or: ambi status; end it with: ambi down")


def _say(text: str) -> None:
    click.echo(text, err=True)
