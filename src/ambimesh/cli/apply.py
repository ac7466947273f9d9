"""``ambi apply``: make objects be as files say."""

import sys
from dataclasses import dataclass
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
from ambimesh.kube.errors import ObjectNotFoundError, ObjectRejectedError
from ambimesh.kube.meta import Kind, describe


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
    """Make objects be as files say; nothing is applied unless all of it is valid."""
    manifests = read_files(filenames)
    run_async(_apply(find_kubeconfig(kubeconfig), manifests, namespace))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One object to be applied."""

    source: str
    kind: Kind
    namespace: str
    document: Document


async def _apply(kubeconfig: Path, manifests: list[tuple[str, Document]], namespace: str) -> None:
    async with Documents.open(kubeconfig) as documents:
        steps = [
            _step(documents.kind_of(document, source=source), source, document, namespace)
            for source, document in manifests
        ]
        for step in steps:
            await _try(documents, step)
        for step in steps:
            after, outcome = await documents.apply(
                step.kind, step.document, namespace=step.namespace
            )
            click.echo(f"{step.kind.plural}/{after['metadata']['name']} {outcome}")


def _step(kind: Kind, source: str, document: Document, namespace: str) -> _Step:
    where = document["metadata"].get("namespace", namespace) if kind.namespaced else ""
    return _Step(source=source, kind=kind, namespace=where, document=document)


async def _try(documents: Documents, step: _Step) -> None:
    """Ask the server about an object before any is applied.

    Raises:
        UsageError: AMB0211, it refuses the object.
    """
    try:
        await documents.try_apply(step.kind, step.document, namespace=step.namespace)
    except ObjectNotFoundError:
        return  # its namespace may be one of the objects; if not, applying tells
    except ObjectRejectedError as error:
        subject = describe(step.kind, step.document["metadata"]["name"], step.namespace)
        raise UsageError(
            catalogue.MANIFEST_REFUSED.problem(
                source=step.source, subject=subject, cause=error.problem.cause
            )
        ) from error
