"""``ambi kubeconfig``: print the path of the mesh's kubeconfig."""

from pathlib import Path

import click

from ambimesh.cli.mesh_options import find_home, home_option
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import UnreachableError


@click.command("kubeconfig")
@home_option
def command(home: Path | None) -> None:
    """Print the path of the mesh's kubeconfig: export KUBECONFIG=$(ambi kubeconfig)."""
    path = find_home(home).kubeconfig
    if not path.exists():
        raise UnreachableError(catalogue.NO_MESH.problem(cause=f"{path} does not exist"))
    click.echo(path)
