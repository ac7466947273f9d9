"""Nodes and pods of one machine reach each other, in both families, and nobody else."""

from pathlib import Path

import pytest

from ambimesh.local import addresses
from support.machine import Place, started_machine

pytestmark = pytest.mark.lab

SERVE = """
import socket, sys
server = socket.create_server(("::", 8080), family=socket.AF_INET6, dualstack_ipv6=True)
print("serving", flush=True)
while True:
    peer, address = server.accept()
    peer.sendall(address[0].removeprefix("::ffff:").encode())
    peer.close()
"""
ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], 8080), timeout=5) as peer:
    print(peer.makefile().read())
"""


async def assert_answers(client: Place, server: Place) -> None:
    """``client`` reaches ``server`` at both addresses, and is seen with its own."""
    assert client.pod
    assert server.pod
    pairs = zip(client.pod.addresses.both, server.pod.addresses.both, strict=True)
    for own, target in pairs:
        seen = (await client.python(ASK, str(target))).output
        assert seen.strip() == str(own)


async def test_pods_on_two_nodes_reach_each_other(tmp_path: Path) -> None:
    """TCP works between pods of one node and of two, v4 and v6, with the client's address."""
    async with started_machine(tmp_path, nodes=2) as lab:
        one, neighbour, far = await lab.pod(1, 10), await lab.pod(1, 11), await lab.pod(2, 10)
        for place in (one, neighbour, far):
            await place.serve(SERVE)

        await assert_answers(one, neighbour)
        await assert_answers(one, far)
        await assert_answers(far, one)


async def test_nodes_and_fabric_reach_pods_and_each_other(tmp_path: Path) -> None:
    """The node proxies and the control side can talk to every pod and to every node."""
    async with started_machine(tmp_path, nodes=2) as lab:
        pod = await lab.pod(2, 254)
        assert pod.pod
        targets = [
            *pod.pod.addresses.both,
            *addresses.node(1).both,
            *addresses.node(2).both,
            *addresses.control().both,
        ]

        for place in (lab.fabric(), lab.node(1), lab.node(2)):
            for target in targets:
                done = await place.run("ping", "-c1", "-W2", str(target))
                assert done.exit.code == 0, done.output


async def test_pod_cannot_send_with_the_address_of_another_nodes_pod(tmp_path: Path) -> None:
    """A packet with a source that belongs to another node is dropped by the sender's node."""
    spoof = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 19, 1)  # IP_TRANSPARENT
s.bind((sys.argv[1], 0))
s.sendto(b"x", (sys.argv[2], 9000))
"""
    listen = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", 9000))
print("serving", flush=True)
s.settimeout(5)
while True:
    print(s.recvfrom(10)[1][0], flush=True)
"""
    async with started_machine(tmp_path, nodes=2) as lab:
        liar, target = await lab.pod(1, 10), await lab.pod(2, 10)
        assert liar.pod
        assert target.pod
        there = str(target.pod.addresses.v4)
        key = await target.serve(listen)

        await liar.python(spoof, str(addresses.pod(2, 99).v4), there)
        await liar.python(spoof, str(liar.pod.addresses.v4), there)  # comes after the lie would
        await target.wait_for_line(key, str(liar.pod.addresses.v4))

        assert str(addresses.pod(2, 99).v4) not in target.log(key).read_text()


async def test_first_packet_to_a_new_pod_is_not_delayed(tmp_path: Path) -> None:
    """Neighbours are found at once: no address probing holds up the first connection."""
    async with started_machine(tmp_path, nodes=2) as lab:
        client, server = await lab.pod(1, 10), await lab.pod(2, 10)
        assert server.pod

        for target in server.pod.addresses.both:
            done = await client.run("ping", "-c1", "-W1", str(target))
            assert done.exit.code == 0, done.output


async def test_service_addresses_have_a_route_but_no_answer_by_themselves(tmp_path: Path) -> None:
    """A node has a route to service addresses, so that its NAT rules see the packet."""
    async with started_machine(tmp_path, nodes=1) as lab:
        for family, address in (("-4", "198.19.0.10"), ("-6", "fd98:616d:6269:ffff::10")):
            done = await lab.node(1).run("ip", family, "route", "get", address)
            assert "dev br0" in done.output


async def test_detach_takes_both_ends_away_and_can_be_repeated(tmp_path: Path) -> None:
    """A detached pod has no link, its node has none either, and its address is free again."""
    detach = "import sys; from ambimesh.local.podnet import detach; detach(sys.argv[1])"
    async with started_machine(tmp_path, nodes=1) as lab:
        pod = await lab.pod(1, 10)
        assert pod.pod

        for _ in range(2):
            await lab.node(1).python(detach, pod.pod.uid)

        assert "eth0" not in (await pod.run("ip", "link")).output
        assert pod.pod.link not in (await lab.node(1).run("ip", "link")).output
        await pod.init.delete_sandbox(pod.pod.uid)
        again = await lab.pod(1, 10)
        assert (await again.run("ping", "-c1", "-W2", "198.18.1.1")).exit.code == 0
