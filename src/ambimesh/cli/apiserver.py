"""``ambi apiserver``: serve the embedded Kubernetes-shaped API of this machine."""

import asyncio
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from ambimesh.cli.mesh_options import find_home, home_option
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.local.apiserver.access.keyring import (
    open_keyring,
    write_kubeconfigs,
    write_node_kubeconfig,
)
from ambimesh.local.apiserver.server import ApiServer, stop_on_signals
from ambimesh.local.apiserver.store.sqlite import DatabaseError
from ambimesh.local.apiserver.store.store import StoreUnavailableError
from ambimesh.local.home import Home

DEFAULT_LISTEN = "127.0.0.1:6443"


@click.command("apiserver")
@home_option
@click.option(
    "--listen",
    "addresses",
    multiple=True,
    metavar="ADDRESS:PORT",
    help=f"Serve on this address; may be given several times (default: {DEFAULT_LISTEN}).",
)
@click.option(
    "--listen-fd",
    "descriptors",
    multiple=True,
    type=int,
    help="Serve on this inherited listening socket; may be given several times.",
)
@click.option(
    "--node",
    "nodes",
    multiple=True,
    help="Write a kubeconfig for the agent of this node; may be given several times.",
)
def command(
    home: Path | None,
    addresses: tuple[str, ...],
    descriptors: tuple[int, ...],
    nodes: tuple[str, ...],
) -> None:
    """Serve the API of a mesh on this machine, with TLS and tokens.

    Prints one line that begins with READY when it serves. The first 127.0.0.1 socket is the one
    that the kubeconfig of the home directory points to.
    """
    folder = find_home(home)
    folder.create()
    sockets = [socket.socket(fileno=number) for number in descriptors]
    if not sockets and not addresses:
        addresses = (DEFAULT_LISTEN,)
    sockets += [listen(address) for address in addresses]
    asyncio.run(_serve(folder, sockets, nodes))


async def _serve(home: Home, sockets: list[socket.socket], nodes: tuple[str, ...]) -> None:
    admin = admin_server(sockets)

    def tell() -> None:
        sys.stdout.write(f"READY {admin}\n")
        sys.stdout.flush()

    try:
        keyring = open_keyring(home, datetime.now(UTC))
        server = ApiServer(home, keyring)
        write_kubeconfigs(home, keyring, admin)
        for node in nodes:
            write_node_kubeconfig(home, node)
    except (OSError, ValueError, DatabaseError) as error:
        raise _unusable(home, str(error)) from error
    stop_on_signals(server)
    try:
        await server.run(sockets, started=tell)
    except* StoreUnavailableError as errors:
        raise _unusable(home, str(errors.exceptions[0])) from errors


def _unusable(home: Home, cause: str) -> EnvironmentFaultError:
    return EnvironmentFaultError(catalogue.API_HOME_UNUSABLE.problem(cause=cause, home=home.root))


def admin_server(sockets: list[socket.socket]) -> str:
    """Give the URL that people use: the first socket on loopback, else the first of all."""
    names = [found.getsockname()[:2] for found in sockets]
    host, port = next((name for name in names if name[0] in ("127.0.0.1", "::1")), names[0])
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def listen(address: str) -> socket.socket:
    """Make a listening socket.

    Raises:
        EnvironmentFaultError: AMB0302, the port is in use or the address is not ours.
        click.BadParameter: the address has no port.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit():
        raise click.BadParameter(f"{address!r} is not ADDRESS:PORT", param_hint="--listen")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, or asyncio does not know that it may switch Nagle's delay off.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, int(port)))
        made.listen(1024)
    except OSError as error:
        made.close()
        raise EnvironmentFaultError(
            catalogue.API_ADDRESS_UNUSABLE.problem(cause=error.strerror or "", address=address)
        ) from error
    return made
