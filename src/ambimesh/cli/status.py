"""``ambi status``: show what runs and how it is."""

import json
import time
from pathlib import Path
from typing import Literal

import click

from ambimesh.cli.mesh_options import find_home, home_option
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import ExitCode, UnreachableError
from ambimesh.local.keeper import Status
from ambimesh.local.mesh_file import MeshFile, running_mesh

_COLUMNS = ("PART", "PLACE", "STATE", "RESTARTS", "SINCE", "LAST EXIT")


@click.command("status")
@home_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def command(home: Path | None, output: Literal["table", "json"]) -> int:
    """Show the parts of the mesh on this machine.

    Exit code 0: all of them are ready; 1: some are not; 3: no mesh runs.
    """
    folder = find_home(home)
    mesh = running_mesh(folder)
    if mesh is None:
        raise UnreachableError(catalogue.NO_MESH.problem(cause=f"none runs in {folder.root}"))
    if output == "json":
        click.echo(json.dumps({**mesh.shape(), "ready": mesh.is_ready}, indent=2))
    else:
        click.echo(render(mesh, now=time.time()))
    return ExitCode.OK if mesh.is_ready else ExitCode.FINDINGS


def render(mesh: MeshFile, *, now: float) -> str:
    """Give what a person reads: the mesh in one line, then a table of its parts. Pure."""
    mode = "an ordinary user's" if mesh.rootless else "root's"
    head = (
        f"mesh {mesh.state}: {len(mesh.nodes)} nodes, API at https://127.0.0.1:{mesh.api_port}, "
        f"{mode}, supervisor pid {mesh.supervisor.pid}"
    )
    rows = [_COLUMNS, *(_row(part, now) for part in mesh.components)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = [
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([head, "", *lines])


def _row(part: Status, now: float) -> tuple[str, ...]:
    since = _age(now - part.since)
    return (part.name, part.place, part.state, str(part.restarts), since, part.last_exit or "-")


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{max(seconds, 0):.0f}s"
