"""Options that many commands share: which mesh, which namespace, how to print."""

import asyncio
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import UnreachableError
from ambimesh.local.home import Home, default_home

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

home_option = click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="AMBIMESH_HOME",
    default=None,
    help="Directory of the mesh (default: /var/lib/ambimesh, or without root "
    "~/.local/state/ambimesh).",
)
namespace_option = click.option(
    "-n", "--namespace", default="default", show_default=True, help="Namespace of the objects."
)
kubeconfig_option = click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    default=None,
    help="Talk to the API server of this file (default: the mesh of this machine, else "
    "$KUBECONFIG).",
)


def find_home(home: Path | None) -> Home:
    """Give the home directory that a command is about."""
    return Home(home or default_home())


def find_kubeconfig(kubeconfig: Path | None, home: Path | None = None) -> Path:
    """Choose the API server: the one asked for, this machine's mesh, or the environment's.

    ``home`` is the mesh that a command with ``--home`` is about.

    Raises:
        UnreachableError: AMB0401, there is none.
    """
    if kubeconfig:
        return kubeconfig
    if home is None and "AMBIMESH_HOME" in os.environ:
        home = Path(os.environ["AMBIMESH_HOME"])
    local = find_home(home).kubeconfig
    if local.exists():
        return local
    if os.environ.get("KUBECONFIG"):
        return Path(os.environ["KUBECONFIG"])
    raise UnreachableError(catalogue.NO_MESH.problem(cause=f"{local} does not exist"))


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's coroutine; the only place where the command line starts an event loop."""
    return asyncio.run(work)
