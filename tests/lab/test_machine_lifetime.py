"""Nothing outlives the process that started a machine, and pods are made fast enough."""

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.machine import SOURCE, processes_below, started_machine

pytestmark = pytest.mark.lab

STARTER = """
import asyncio, json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from support.machine import started_machine

async def main():
    async with started_machine(Path(sys.argv[1]), nodes=2) as lab:
        for node in (1, 2):
            pod = await lab.pod(node, 10)
            key = await pod.start("sh", "-c", "setsid sleep 4242 & echo up; exec sleep 4242")
            await pod.wait_for_line(key, "up")
        print("up", lab.machine.carrier.pid, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
PODS = """
import asyncio, os, sys, time
from pathlib import Path
from ambimesh.local.init.client import InitClient
from ambimesh.local.podnet import PodNetwork, SANDBOX_SYSCTLS, attach

async def main():
    async with await InitClient.connect(Path(sys.argv[1])) as init:
        began = time.perf_counter()
        for host in range(10, 30):
            sandbox = await init.create_sandbox(f"uid-{host}", SANDBOX_SYSCTLS)
            attach(PodNetwork(uid=f"uid-{host}", node=1, host=host), sandbox)
            os.close(sandbox)
        print((time.perf_counter() - began) / 20 * 1000)

asyncio.run(main())
"""


def test_killed_starter_takes_everything_along_within_a_second(tmp_path: Path) -> None:
    """Kill -9 of whoever made the machine ends nodes, pods and daemons in them at once."""
    tests = str(Path(__file__).parents[1])
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, str(tmp_path), tests],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    ) as starter:
        try:
            assert starter.stdout
            assert starter.stdout.readline().startswith(b"up")
            pids = processes_below(starter.pid)
            ends = [os.pidfd_open(pid) for pid in pids]
        finally:
            began = time.monotonic()
            starter.kill()
        gone = [bool(select.select([end], [], [], 1.0)[0]) for end in ends]
        took = time.monotonic() - began
    for end in ends:
        os.close(end)

    assert len(pids) >= 10  # three carriers, three inits, two programs with a daemon each
    assert all(gone)
    assert took < 1.0


async def test_machine_that_ends_leaves_no_process(tmp_path: Path) -> None:
    """The orderly end leaves no process either, and its socket answers no more."""
    async with started_machine(tmp_path, nodes=2) as lab:
        pod = await lab.pod(2, 10)
        await pod.start("sleep", "4242")
        pids = processes_below(os.getpid())
        assert pids

    assert not processes_below(os.getpid()) & pids


async def test_twenty_pods_are_made_quickly(tmp_path: Path) -> None:
    """A pod's sandbox, link, addresses and routes take milliseconds, not a process each."""
    async with started_machine(tmp_path, nodes=1) as lab:
        node = lab.node(1)
        done = await node.python(PODS, str(lab.home.init_socket("node-1")))

        links = json.loads((await node.run("ip", "-j", "link", "show", "master", "br0")).output)
    milliseconds = float(done.output)
    print(f"{milliseconds:.1f} ms a pod")  # a reading, shown with -s
    assert len(links) == 20
    assert milliseconds < 50  # 3 to 5 when nothing else runs; `ip` processes take 22
