"""A new generation of the node proxy takes over without refusing or ending a connection."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from functools import partial

import pytest

from ambimesh.local.init.client import InitClient
from ambimesh.local.node_seams import PROXY_OWNER
from support.running_mesh import Program, RunningMesh, case_command, peer

pytestmark = pytest.mark.lab

NODES = ("node-1", "node-2")


def test_replaced_proxy_ends_no_connection(
    mesh: RunningMesh, make_namespace: Callable[[], str]
) -> None:
    """Design D7: requests and a long connection go on while both nodes' proxies are replaced."""
    place = make_namespace()
    mesh.run_pods(place, peer("server", node="node-1"), Program(name="client", node="node-2"))
    mesh.capture(place, "server", "client")
    host = mesh.address(place, "server")
    mesh.until_tunnelled(place, "client", host, node="node-1")
    before = {node: _generations(mesh, node) for node in NODES}
    flag = mesh.home.root / "generations-seen"
    long = _started(mesh, place, "ping", host, str(flag))
    many = _started(mesh, place, "requests", host, str(flag))

    for node in NODES:
        asyncio.run(_signal(mesh, node))
        mesh.until(partial(_has_newer, mesh, node, max(before[node])))
        mesh.until(partial(_accepts, mesh, node))
    more = int(_line(many)) + 20
    mesh.until(lambda: int(_line(many)) > more)
    flag.touch()

    assert _outcome(long)["outcome"] == "alive"
    assert set(_outcome(many)) == {"answered"}
    for node in NODES:  # the old generation ends when its last connection has
        mesh.until(partial(_has_one, mesh, node), seconds=30)


def _started(mesh: RunningMesh, place: str, case: str, *more: str) -> subprocess.Popen[str]:
    process = mesh.background(place, "client", *case_command(case, more[0], *more[1:]))
    assert int(_line(process)) >= 1
    return process


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.readline()


def _outcome(process: subprocess.Popen[str]) -> dict[str, object]:
    output, _ = process.communicate(timeout=20)
    answer: dict[str, object] = json.loads(output.splitlines()[-1])
    return answer


def _generations(mesh: RunningMesh, node: str) -> set[int]:
    async def read() -> set[int]:
        async with await InitClient.connect(mesh.home.init_socket(node)) as init:
            found = await init.processes(PROXY_OWNER)
        return {int(p.key.rpartition("/")[2]) for p in found if p.exit is None}

    return asyncio.run(read())


def _has_newer(mesh: RunningMesh, node: str, generation: int) -> bool:
    return max(_generations(mesh, node)) > generation


def _has_one(mesh: RunningMesh, node: str) -> bool:
    return len(_generations(mesh, node)) == 1


async def _signal(mesh: RunningMesh, node: str) -> None:
    async with await InitClient.connect(mesh.home.init_socket(node)) as init:
        await init.signal(f"component/{node}", signal.SIGHUP, leader_only=True)


def _accepts(mesh: RunningMesh, node: str) -> bool:
    """Whether the agent has told an older generation to retire: the newest one accepts."""
    text = mesh.home.log_file(node).read_text("utf-8")
    return "generation retires" in text
