"""`ambi controlplane`: run the control plane until a signal ends it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import structlog

from ambimesh.cli.service_log import configure_log
from ambimesh.controlplane.service import ControlPlane, Listening, MeshChangedError
from ambimesh.controlplane.settings import Settings, from_environment
from ambimesh.diagnostics.problem import ExitCode
from ambimesh.kube.cluster import Cluster


@click.command("controlplane")
@click.option(
    "--kubeconfig",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Credentials for the API (default: the pod's own, or KUBECONFIG).",
)
@click.option(
    "--listen",
    multiple=True,
    default=["127.0.0.1:15012"],
    show_default=True,
    metavar="HOST:PORT",
    help="Where discovery and certificates are served, with TLS. May be repeated.",
)
@click.option(
    "--monitor",
    default="127.0.0.1:15014",
    show_default=True,
    metavar="HOST:PORT",
    help="Where metrics, readiness and debug pages are served.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
    help="The least severe log lines to write.",
)
def command(kubeconfig: Path | None, listen: Sequence[str], monitor: str, log_level: str) -> int:
    """Run the control plane: discovery, certificates, policies and statuses.

    Prints one line on standard output when it serves: READY, then where. The log goes to
    standard error, one JSON object a line. Other settings are Istio's environment variables:
    CA_TRUSTED_NODE_ACCOUNTS, TOKEN_AUDIENCES, CLUSTER_ID, DEFAULT_WORKLOAD_CERT_TTL,
    MAX_WORKLOAD_CERT_TTL.
    """
    settings = from_environment(
        os.environ,
        kubeconfig=kubeconfig,
        listen=listen,
        monitor=monitor,
        hostname=socket.gethostname(),
    )
    configure_log(log_level)
    return asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; give the exit code."""
    cluster = await Cluster.connect(settings.kubeconfig)
    loop = asyncio.get_running_loop()
    running = asyncio.current_task()
    assert running is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    try:
        await ControlPlane(settings, cluster).run(started=_announce)
    except asyncio.CancelledError:
        return ExitCode.OK
    except MeshChangedError:
        structlog.get_logger().info("mesh config changed: ending, to be started anew")
    finally:
        await cluster.close()
    return ExitCode.OK


def _announce(listening: Listening) -> None:
    discovery = ",".join(str(endpoint) for endpoint in listening.discovery)
    click.echo(f"READY xds={discovery} monitor={listening.monitor}")
    sys.stdout.flush()
