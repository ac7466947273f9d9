"""``ambi port-forward``: open a pod's port on 127.0.0.1."""

import asyncio
import contextlib
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

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
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import MeshError, UsageError
from ambimesh.kube.documents import Documents
from ambimesh.local.door import CHUNK_BYTES, Channel, DoorConnection

_LAST_PORT = 65535


@click.command("port-forward")
@click.argument("pod")
@click.argument("ports")
@namespace_option
@home_option
@kubeconfig_option
def command(
    pod: str, ports: str, namespace: str, home: Path | None, kubeconfig: Path | None
) -> None:
    r"""Open the port of POD on 127.0.0.1. PORTS is LOCAL:REMOTE, or one number for both.

    \b
    ambi port-forward -n demo web 18080:8080
    """
    local, remote = read_ports(ports)

    async def work() -> None:
        async with Documents.open(find_kubeconfig(kubeconfig, home)) as documents:
            found = await documents.get(documents.kind("pods"), namespace, pod)
        door = PodDoor(find_home(home).root, find_pod(found))
        await _serve(door, local, remote)

    run_async(work())


def read_ports(text: str) -> tuple[int, int]:
    """Read LOCAL:REMOTE, or one number for both; LOCAL may be 0: the system chooses.

    Raises:
        UsageError: AMB0209, these are no ports.
    """
    local, colon, remote = text.partition(":")
    numbers = [int(n) for n in (local, remote if colon else local) if n.isascii() and n.isdigit()]
    if len(numbers) != 2 or max(numbers) > _LAST_PORT or not numbers[1]:
        raise UsageError(catalogue.PORTS_MALFORMED.problem(argument=text))
    return numbers[0], numbers[1]


async def _serve(door: PodDoor, local: int, remote: int) -> None:
    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            connection = await door.open(door.request(op="portforward", port=remote))
        except MeshError as error:
            click.echo(error.problem.render(), err=True)
        else:
            await _join(connection, reader, writer)
        finally:
            writer.close()

    try:
        server = await asyncio.start_server(accept, "127.0.0.1", local)
    except OSError as error:
        raise UsageError(
            catalogue.LOCAL_PORT_TAKEN.problem(port=local, cause=error.strerror or str(error))
        ) from error
    port = server.sockets[0].getsockname()[1]
    click.echo(f"127.0.0.1:{port} -> {remote}; Ctrl-C ends it")
    async with server:
        await server.serve_forever()


async def _join(
    connection: DoorConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    async def outward() -> None:
        while data := await reader.read(CHUNK_BYTES):
            await connection.send(Channel.STDIN, data)
        await connection.finish(Channel.STDIN)

    async def inward() -> None:
        while frame := await connection.read():
            if frame.channel is Channel.STDOUT:
                writer.write(frame.payload)
                await writer.drain()
            elif frame.channel is Channel.STATUS:
                return

    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(_until_lost(outward()))
        await _until_lost(inward())
        sending.cancel()
    connection.close()


async def _until_lost(work: Coroutine[Any, Any, None]) -> None:
    """Move bytes one way; an end that goes away ends it."""
    with contextlib.suppress(ConnectionError):
        await work
