"""``ambi exec``: run a command in a pod."""

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


@click.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("pod")
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@namespace_option
@click.option("-c", "--container", default="", help="Container (default: the first).")
@click.option("-i", "--stdin", "interactive", is_flag=True, help="Pass standard input on.")
@click.option("-t", "--tty", "terminal", is_flag=True, help="Give the command a terminal.")
@home_option
@kubeconfig_option
def command(  # one parameter for each option
    pod: str,
    program: tuple[str, ...],
    namespace: str,
    container: str,
    interactive: bool,
    terminal: bool,
    home: Path | None,
    kubeconfig: Path | None,
) -> int:
    """Run PROGRAM (after --) in POD; its exit code becomes ours."""

    async def work() -> int:
        async with Documents.open(find_kubeconfig(kubeconfig, home)) as documents:
            found = await documents.get(documents.kind("pods"), namespace, pod)
        door = PodDoor(find_home(home).root, find_pod(found))
        return await door.exec(
            program, container=container, terminal=terminal, interactive=interactive
        )

    return run_async(work())
