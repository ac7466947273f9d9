"""What ``ambi label`` and ``ambi annotate`` share: setting and taking away pairs."""

from collections.abc import Iterable
from pathlib import Path

import click

from ambimesh.cli.mesh_options import (
    find_kubeconfig,
    kubeconfig_option,
    namespace_option,
    run_async,
)
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import UsageError
from ambimesh.kube.documents import Documents


def read_pairs(arguments: Iterable[str]) -> tuple[list[str], dict[str, str | None]]:
    """Take names and changes apart: ``key=value`` sets, ``key-`` takes away.

    Raises:
        UsageError: AMB0206, no change is among the arguments.
    """
    names: list[str] = []
    changes: dict[str, str | None] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and key:
            changes[key] = value
        elif argument.endswith("-") and len(argument) > 1:
            changes[argument[:-1]] = None
        elif changes or equals:
            raise UsageError(catalogue.LABEL_MALFORMED.problem(argument=argument))
        else:
            names.append(argument)
    if not changes:
        last = names[-1] if names else "nothing"
        raise UsageError(catalogue.LABEL_MALFORMED.problem(argument=last))
    if not names:
        raise UsageError(catalogue.OBJECT_NAME_MISSING.problem())
    return names, changes


def change_command(name: str, field: str) -> click.Command:
    """Make the command that changes ``field`` (labels or annotations) of objects."""

    @click.command(
        name,
        help=f"Set (KEY=VALUE) or take away (KEY-) {field} of the objects of KIND with NAME.",
    )
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
        names, changes = read_pairs(arguments)
        run_async(_change(find_kubeconfig(kubeconfig), field, kind, names, changes, namespace))

    return command


async def _change(  # what to change, where, on what
    kubeconfig: Path,
    field: str,
    word: str,
    names: list[str],
    changes: dict[str, str | None],
    namespace: str,
) -> None:
    async with Documents.open(kubeconfig) as documents:
        kind = documents.kind(word)
        where = namespace if kind.namespaced else ""
        for name in names:
            await documents.merge(kind, where, name, {"metadata": {field: changes}})
            done = "labeled" if field == "labels" else "annotated"
            click.echo(f"{kind.plural}/{name} {done}")
