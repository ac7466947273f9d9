"""``ambi run``: run a program as a pod."""

import asyncio
import os
import re
import shutil
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
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import UsageError
from ambimesh.kube.documents import Document, Documents
from ambimesh.kube.errors import ObjectExistsError, ObjectNotFoundError

_POLL_SECONDS = 0.1
_START_SECONDS = 60.0
_NAME_LIMIT = 63  # of a container's name, which is a DNS label


@click.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--name", help="Name of the pod (default: that of the program).")
@namespace_option
@click.option("--service-account", default="default", show_default=True, help="Who the pod is.")
@click.option("--node", default="", help="Node to run on (default: the scheduler chooses).")
@click.option("--port", "ports", multiple=True, type=int, help="A port that the program serves.")
@click.option("-l", "--label", "labels", multiple=True, help="Label of the pod: key=value.")
@click.option(
    "-e", "--env", "variables", multiple=True, help="Variable: KEY=VALUE, or KEY as here."
)
@click.option("--restart", type=click.Choice(["Always", "OnFailure", "Never"]), default=None)
@click.option("--detach", "-d", is_flag=True, help="Return when the pod is ready.")
@home_option
@kubeconfig_option
def command(  # noqa: PLR0913, PLR0917  # one parameter for each option
    program: tuple[str, ...],
    name: str | None,
    namespace: str,
    service_account: str,
    node: str,
    ports: tuple[int, ...],
    labels: tuple[str, ...],
    variables: tuple[str, ...],
    restart: str | None,
    detach: bool,
    home: Path | None,
    kubeconfig: Path | None,
) -> int:
    r"""Run PROGRAM (after --) as a pod: a process with network, names and identity of its own.

    \b
    ambi run -n demo --name web --port 8080 --detach -- python3 -m http.server 8080
    ambi run -n demo -- curl -s http://web.demo:8080/

    Without --detach its output appears here, and the pod goes when the program has ended.
    """
    pod = pod_manifest(
        program, name=name or pod_name(program[0]), namespace=namespace,
        service_account=service_account, node=node, ports=ports, labels=_pairs(labels),
        variables=_variables(variables), restart=restart or ("Always" if detach else "Never"),
    )  # fmt: skip
    runner = _Runner(find_home(home).root, find_kubeconfig(kubeconfig, home))
    return run_async(runner.run(pod, detach=detach))


def pod_name(program: str) -> str:
    """Make a name that a pod and a container may have from a program's."""
    words = re.findall("[a-z0-9]+", Path(program).name.lower())
    return "-".join(words)[:_NAME_LIMIT].strip("-") or "program"


def pod_manifest(  # noqa: PLR0913  # what a pod is made of
    program: tuple[str, ...],
    *,
    name: str,
    namespace: str,
    service_account: str,
    node: str,
    ports: tuple[int, ...],
    labels: dict[str, str],
    variables: dict[str, str],
    restart: str,
) -> Document:
    """Give the manifest of a pod that runs a program of this machine.

    Raises:
        UsageError: AMB0208, there is no such program.
    """
    path = shutil.which(program[0])
    if path is None:
        raise UsageError(
            catalogue.COMMAND_NOT_FOUND.problem(
                command=program[0], cause=f"it is in no directory of PATH={os.environ.get('PATH')}"
            )
        )
    environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(Path.home())} | variables
    container: Document = {
        "name": name,
        "command": [path, *program[1:]],
        "workingDir": str(Path.cwd()),
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "ports": [{"containerPort": port} for port in ports],
    }
    if ports:
        container["readinessProbe"] = {"tcpSocket": {"port": ports[0]}, "periodSeconds": 5}
    spec: Document = {
        "serviceAccountName": service_account,
        "restartPolicy": restart,
        "terminationGracePeriodSeconds": 5,
        "containers": [container],
    }
    if node:
        spec["nodeName"] = node
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name, **labels}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


class _Runner:
    def __init__(self, home: Path, kubeconfig: Path) -> None:
        self._home = home
        self._kubeconfig = kubeconfig

    async def run(self, pod: Document, *, detach: bool) -> int:
        async with Documents.open(self._kubeconfig) as documents:
            meta = pod["metadata"]
            await self._ensure_namespace(documents, meta["namespace"])
            account = pod["spec"]["serviceAccountName"]
            await self._ensure_account(documents, meta["namespace"], account)
            created = await documents.create(
                documents.kind("pods"), pod, namespace=meta["namespace"]
            )
            if detach:
                await self._wait_ready(documents, created)
                click.echo(f"pod/{meta['name']} is ready")
                return 0
            try:
                return await self._attached(documents, created)
            finally:
                await asyncio.shield(self._remove(documents, created))

    async def _ensure_namespace(self, documents: Documents, name: str) -> None:
        """Make the namespace that is asked for: nobody types it by mistake and misses it."""
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        try:
            await documents.create(documents.kind("namespaces"), manifest, namespace="")
        except ObjectExistsError:
            return
        click.echo(f"namespace/{name} created", err=True)

    async def _ensure_account(self, documents: Documents, namespace: str, name: str) -> None:
        metadata = {"name": name, "namespace": namespace}
        manifest = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        try:
            await documents.create(documents.kind("serviceaccounts"), manifest, namespace=namespace)
        except ObjectExistsError:
            return

    async def _wait_ready(self, documents: Documents, pod: Document) -> None:
        meta = pod["metadata"]
        why = "it has not been taken by a node"
        try:
            async with asyncio.timeout(_START_SECONDS):
                while True:
                    now = await documents.get(
                        documents.kind("pods"), meta["namespace"], meta["name"]
                    )
                    ready, why = _readiness(now)
                    if ready:
                        return
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise UsageError(
                catalogue.POD_NOT_READY.problem(
                    pod=f"{meta['namespace']}/{meta['name']}",
                    seconds=int(_START_SECONDS),
                    namespace=meta["namespace"],
                    name=meta["name"],
                    cause=why,
                )
            ) from None

    async def _attached(self, documents: Documents, pod: Document) -> int:
        meta = pod["metadata"]
        while True:
            now = await documents.get(documents.kind("pods"), meta["namespace"], meta["name"])
            state = _state(now)
            if "running" in state or "terminated" in state:
                break
            if now.get("status", {}).get("phase") == "Failed":
                click.echo(now["status"].get("message", "the pod failed"), err=True)
                return 1
            await asyncio.sleep(_POLL_SECONDS)
        door = PodDoor(self._home, find_pod(now))
        await door.logs(sys.stdout.buffer, follow=True)
        while "terminated" not in state:
            await asyncio.sleep(_POLL_SECONDS)
            now = await documents.get(documents.kind("pods"), meta["namespace"], meta["name"])
            state = _state(now)
        return int(state["terminated"]["exitCode"])

    async def _remove(self, documents: Documents, pod: Document) -> None:
        meta = pod["metadata"]
        try:
            await documents.delete(documents.kind("pods"), meta["namespace"], meta["name"])
        except ObjectNotFoundError:
            return


def _readiness(pod: Document) -> tuple[bool, str]:
    status = pod.get("status", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
    if conditions.get("Ready") == "True":
        return True, ""
    waiting = _state(pod).get("waiting", {})
    said = [waiting.get("reason"), waiting.get("message"), status.get("message")]
    return False, ": ".join(text for text in said if text) or f"phase {status.get('phase')}"


def _state(pod: Document) -> Document:
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    state: Document = statuses[0].get("state", {})
    return state


def _pairs(arguments: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key:
            raise UsageError(catalogue.LABEL_MALFORMED.problem(argument=argument))
        pairs[key] = value
    return pairs


def _variables(arguments: tuple[str, ...]) -> dict[str, str]:
    """Read KEY=VALUE; a KEY alone takes the value it has here."""
    pairs = [argument.partition("=") for argument in arguments]
    return {key: value if equals else os.environ.get(key, "") for key, equals, value in pairs}
