"""``ambi logs``: print what a pod's programs have said."""

import sys
from pathlib import Path

import click

from ambimesh.cli.door_client import PodDoor, find_pod
from ambimesh.cli.mesh_options import (
    find_home,
    find_kubeconfig,
    home_option,
    kubeconfig_option,
    namespace_option,
    run_async,
)
from ambimesh.kube.documents import Documents


@click.command("logs")
@click.argument("pod")
@namespace_option
@click.option("-c", "--container", default="", help="Container (default: the first).")
@click.option("-f", "--follow", is_flag=True, help="Go on until the program ends.")
@click.option("--tail", type=int, default=None, help="Only the last lines.")
@click.option("-p", "--previous", is_flag=True, help="Of the run before the last start.")
@home_option
@kubeconfig_option
def command(  # one parameter for each option
    pod: str,
    namespace: str,
    container: str,
    follow: bool,
    tail: int | None,
    previous: bool,
    home: Path | None,
    kubeconfig: Path | None,
) -> None:
    """Print what the programs of POD have written to standard output and error."""

    async def work() -> None:
        async with Documents.open(find_kubeconfig(kubeconfig, home)) as documents:
            found = await documents.get(documents.kind("pods"), namespace, pod)
        door = PodDoor(find_home(home).root, find_pod(found))
        await door.logs(
            sys.stdout.buffer, container=container, follow=follow, tail_lines=tail,
            previous=previous,
        )  # fmt: skip

    run_async(work())
