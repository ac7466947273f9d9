"""``ambi annotate``: set or take away annotations."""

from pathlib import Path

import click

from ambimesh.cli.mesh_options import kubeconfig_option, namespace_option
from ambimesh.cli.metadata_change import change


@click.command("annotate")
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
    """Set (KEY=VALUE) or take away (KEY-) annotations of the objects of KIND with NAME."""
    change("annotations", kind, arguments, namespace, kubeconfig)
