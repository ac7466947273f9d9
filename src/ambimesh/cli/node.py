"""``ambi node``: run the node agent of one node, with its pods on one machine."""

import asyncio
import signal
from pathlib import Path

import click

from ambimesh.cli.mesh_options import find_home, home_option
from ambimesh.cli.service_log import configure_log
from ambimesh.local.addresses import node_number
from ambimesh.local.node_process import NodeProcess


@click.command("node")
@home_option
@click.option("--node", required=True, help="Name of the node, for example node-1.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
def command(home: Path | None, node: str, log_level: str) -> None:
    """Run the agent of one node, inside the node's namespaces. Started by `ambi up`.

    Prints READY on standard output when pods can run. It may end and start again at any time:
    pods and their connections do not notice. SIGHUP replaces the node proxy by a new
    generation; connections of the old one run to their end.
    """
    configure_log(log_level)
    asyncio.run(_run(NodeProcess(find_home(home), node, node_number(node))))


async def _run(process: NodeProcess) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    loop.add_signal_handler(signal.SIGHUP, process.replace_proxy)
    try:
        await process.run(started=lambda: click.echo("READY"))
    except asyncio.CancelledError:
        return
