"""``ambi delete``: delete objects."""

from pathlib import Path

import click

from ambimesh.cli.apply import read_files
from ambimesh.cli.mesh_options import (
    find_kubeconfig,
    kubeconfig_option,
    namespace_option,
    run_async,
)
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import UsageError
from ambimesh.kube.documents import Document, Documents
from ambimesh.kube.errors import ObjectNotFoundError


@click.command("delete")
@click.argument("kind", required=False)
@click.argument("names", nargs=-1)
@click.option("-f", "--filename", "filenames", multiple=True, help="Delete what these files hold.")
@namespace_option
@click.option("--ignore-not-found", is_flag=True, help="Objects that are gone already are fine.")
@kubeconfig_option
def command(  # one parameter for each option
    kind: str | None,
    names: tuple[str, ...],
    filenames: tuple[str, ...],
    namespace: str,
    ignore_not_found: bool,
    kubeconfig: Path | None,
) -> None:
    """Delete the objects of KIND with NAMES, or what files hold."""
    if not filenames and not (kind and names):
        raise UsageError(catalogue.OBJECT_NAME_MISSING.problem())
    deletion = _Deletion(namespace, ignore_not_found=ignore_not_found)
    manifests = read_files(filenames)
    run_async(deletion.run(find_kubeconfig(kubeconfig), kind, names, manifests))


class _Deletion:
    def __init__(self, namespace: str, *, ignore_not_found: bool) -> None:
        self._namespace = namespace
        self._ignore_not_found = ignore_not_found

    async def run(
        self,
        kubeconfig: Path,
        word: str | None,
        names: tuple[str, ...],
        manifests: list[tuple[str, Document]],
    ) -> None:
        async with Documents.open(kubeconfig) as documents:
            places = [(documents.kind(word), self._namespace, name) for name in names if word]
            for source, document in manifests:
                metadata = document["metadata"]
                where = metadata.get("namespace", self._namespace)
                kind = documents.kind_of(document, source=source)
                places.append((kind, where, metadata["name"]))
            for kind, namespace, name in places:
                try:
                    await documents.delete(kind, namespace if kind.namespaced else "", name)
                except ObjectNotFoundError:
                    if not self._ignore_not_found:
                        raise
                else:
                    click.echo(f"{kind.plural}/{name} deleted")
