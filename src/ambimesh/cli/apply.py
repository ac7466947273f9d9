"""``ambi apply``: make objects be as files say."""

import sys
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
from ambimesh.kube.documents import Document, Documents, read_manifests


@click.command("apply")
@click.option(
    "-f",
    "--filename",
    "filenames",
    multiple=True,
    required=True,
    help="A file of manifests; - reads standard input. May be given several times.",
)
@namespace_option
@kubeconfig_option
def command(filenames: tuple[str, ...], namespace: str, kubeconfig: Path | None) -> None:
    """Make objects be as files say; nothing is applied unless every file parses."""
    run_async(_apply(find_kubeconfig(kubeconfig), read_files(filenames), namespace))


def read_files(filenames: tuple[str, ...]) -> list[tuple[str, Document]]:
    """Read every manifest of every file, with where it stands.

    Raises:
        UsageError: a file cannot be read or does not parse; see ``read_manifests``.
    """
    manifests = []
    for filename in filenames:
        try:
            text = sys.stdin.read() if filename == "-" else Path(filename).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                catalogue.FILE_UNREADABLE.problem(path=filename, cause=str(error))
            ) from error
        source = "standard input" if filename == "-" else filename
        manifests += [(source, document) for document in read_manifests(text, source=source)]
    return manifests


async def _apply(kubeconfig: Path, manifests: list[tuple[str, Document]], namespace: str) -> None:
    async with Documents.open(kubeconfig) as documents:
        planned = [
            (documents.kind_of(document, source=source), document) for source, document in manifests
        ]
        for kind, document in planned:
            where = document["metadata"].get("namespace", namespace) if kind.namespaced else ""
            after, outcome = await documents.apply(kind, document, namespace=where)
            click.echo(f"{kind.plural}/{after['metadata']['name']} {outcome}")
