"""``ambi label``: set or take away labels."""

from pathlib import Path

import click

from ambimesh.cli.mesh_options import kubeconfig_option, namespace_option
from ambimesh.cli.metadata_change import change


@click.command("label")
@click.argument("kind")
@click.argument("arguments", nargs=-1, required=True, metavar="NAME... KEY=VALUE|KEY-...")
@click.option("--overwrite", is_flag=True, hidden=True, help="Taken for kubectl's sake.")
@namespace_option
@kubeconfig_option
def command(
    kind: str,
    arguments: tuple[str, ...],
    overwrite: bool,  # noqa: ARG001  # values are always replaced
    namespace: str,
    kubeconfig: Path | None,
) -> None:
    """Set (KEY=VALUE) or take away (KEY-) labels of the objects of KIND with NAME."""
    change("labels", kind, arguments, namespace, kubeconfig)
