"""``ambi get``: list objects, or show some."""

import json
from contextlib import aclosing
from pathlib import Path
from typing import Literal

import click
import yaml

from ambimesh.cli.mesh_options import (
    find_kubeconfig,
    kubeconfig_option,
    namespace_option,
    run_async,
)
from ambimesh.cli.tables import TablePrinter
from ambimesh.diagnostics.problem import ExitCode
from ambimesh.kube.documents import Document, Documents
from ambimesh.kube.meta import Kind

Output = Literal["table", "wide", "json", "yaml", "name"]


@click.command("get")
@click.argument("kinds")
@click.argument("names", nargs=-1)
@namespace_option
@click.option("-A", "--all-namespaces", is_flag=True, help="All namespaces.")
@click.option("-l", "--selector", default="", help="Only objects with these labels: app=web,tier.")
@click.option(
    "-o", "--output", type=click.Choice(["table", "wide", "json", "yaml", "name"]), default="table"
)
@click.option("-w", "--watch", is_flag=True, help="Then go on and print what changes.")
@kubeconfig_option
def command(  # one parameter for each option
    kinds: str,
    names: tuple[str, ...],
    namespace: str,
    all_namespaces: bool,
    selector: str,
    output: Output,
    watch: bool,
    kubeconfig: Path | None,
) -> int:
    """List objects of KINDS, or show those with NAMES.

    KINDS is one kind, or several with commas between, or `all`: ambi get pods,services -A
    """
    where = "" if all_namespaces else namespace
    return run_async(
        _get(find_kubeconfig(kubeconfig), kinds, names, where, selector, output, watch)
    )


async def _get(  # as the command
    kubeconfig: Path,
    kinds: str,
    names: tuple[str, ...],
    namespace: str,
    selector: str,
    output: Output,
    watch: bool,
) -> int:
    async with Documents.open(kubeconfig) as documents:
        found = 0
        for kind in documents.kinds(kinds):
            for name in names or ("",):
                if output in {"table", "wide"}:
                    shown = _Shown(documents, kind, namespace, name, selector)
                    is_next = bool(found) and not names
                    found += await shown.table(wide=output == "wide", watch=watch, is_next=is_next)
                else:
                    found += _dump(
                        await documents.get(kind, namespace, name, labels=selector), kind, output
                    )
    if not found:
        where = f"in namespace {namespace}" if namespace else "in any namespace"
        click.echo(f"no {kinds} {where}", err=True)
    return ExitCode.OK


class _Shown:
    """One collection or object on the terminal."""

    def __init__(
        self, documents: Documents, kind: Kind, namespace: str, name: str, labels: str
    ) -> None:
        self._documents = documents
        self._place = (kind, namespace if kind.namespaced else "", name)
        self._labels = labels

    async def table(self, *, wide: bool, watch: bool, is_next: bool) -> int:
        """Print it, after an empty line if it is the next of several; return its rows."""
        kind, namespace, name = self._place
        printer = TablePrinter(wide=wide, with_namespace=kind.namespaced and not namespace)
        table = await self._documents.table(*self._place, labels=self._labels)
        if is_next and table.get("rows"):
            click.echo()
        found = printer.show(table)
        if watch:
            version = table["metadata"]["resourceVersion"]
            events = self._documents.watch(
                kind, namespace, name, version=version, labels=self._labels
            )
            columns = table.get("columnDefinitions")
            async with aclosing(events):
                async for event in events:
                    found += printer.show({"columnDefinitions": columns, **event["object"]})
        return found


def _dump(document: Document, kind: Kind, output: Output) -> int:
    items = document["items"] if document.get("kind", "").endswith("List") else [document]
    if output == "json":
        click.echo(json.dumps(document, indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)
    else:
        group = f".{kind.group}" if kind.group else ""
        for item in items:
            click.echo(f"{kind.plural}{group}/{item['metadata']['name']}")
    return len(items)
