"""``ambi down``: stop the mesh and leave nothing behind."""

from pathlib import Path

import click

from ambimesh.cli.mesh_options import find_home, home_option
from ambimesh.local.teardown import end_mesh

_GRACE_SECONDS = 30.0


@click.command("down")
@home_option
@click.option(
    "--timeout",
    "seconds",
    type=click.FloatRange(min=0),
    default=_GRACE_SECONDS,
    show_default=True,
    help="How many seconds pods and parts of the mesh get to end; then they are killed.",
)
def command(home: Path | None, seconds: float) -> None:
    """Stop the mesh: first gracefully, then hard. What the API has stored stays in the home.

    It may be repeated, and also cleans up after a mesh whose supervisor was killed.
    """

    def report(text: str) -> None:
        click.echo(text, err=True)

    folder = find_home(home)
    if end_mesh(folder, grace_seconds=seconds, report=report):
        report(f"the mesh in {folder.root} has ended")
    else:
        report(f"no mesh runs in {folder.root}")
