"""The agent's side of ZDS, against a peer on a real SEQPACKET socket."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ambimesh.node import zds
from ambimesh.node.listeners import ListenerKind
from ambimesh.node.zds import Enrolled, NotEnrolledError, ProxyGoneError, ZdsServer
from ambimesh.wire import zds as messages
from support.zds_peer import ZdsPeer


class Served:
    """A running server and what it told about proxies that are ready."""

    def __init__(self, path: Path, answer_seconds: float) -> None:
        self.path = path
        self.ready: asyncio.Queue[int] = asyncio.Queue()
        self.server = ZdsServer(
            path, ready=self.ready.put_nowait, answer_seconds=answer_seconds
        )  # fmt: skip

    async def peer(self, *, takes_listeners: bool = True, snapshot: int = 1) -> ZdsPeer:
        """Connect a proxy that has taken the snapshot of so many requests."""
        peer = ZdsPeer(self.path)
        peer.greet(takes_listeners=takes_listeners)
        await peer.take(snapshot)
        async with asyncio.timeout(5):
            await self.ready.get()
        return peer


@asynccontextmanager
async def serving(folder: Path, *, answer_seconds: float = 5.0) -> AsyncIterator[Served]:
    """Run a server for the length of the block."""
    served = Served(folder / "zds", answer_seconds)
    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(served.server.run(started=started.set))
        await started.wait()
        yield served
        running.cancel()


@pytest.fixture
def pod() -> Iterator[Enrolled]:
    """A pod with a descriptor for its namespace and real sockets for its listeners."""
    with open(os.devnull, "rb") as namespace:  # noqa: PTH123  # a descriptor is what is wanted
        listeners = {kind: socket.socket() for kind in reversed(ListenerKind)}
        yield Enrolled(
            uid="uid-1", name="web", namespace="default", service_account="web",
            network_namespace=namespace.fileno(), listeners=listeners,
        )  # fmt: skip
        for listener in listeners.values():
            listener.close()


def same_file(left: int, right: int) -> bool:
    """Whether two descriptors are of one open object."""
    ours, theirs = os.fstat(left), os.fstat(right)
    return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)


async def test_proxy_that_connects_gets_the_snapshot_with_descriptors(
    tmp_path: Path, pod: Enrolled
) -> None:
    """Each pod comes with its namespace first and its listeners in the order they are named."""
    async with serving(tmp_path) as served:
        with pytest.raises(NotEnrolledError, match="no node proxy is connected"):
            await served.server.add(pod)

        with await served.peer(snapshot=2) as peer:
            add, end = peer.heard
            assert (add.kind, add.uid, end.kind) == ("add", "uid-1", "snapshot_sent")
            assert add.listeners == [1, 2, 3]
            assert same_file(add.descriptors[0], pod.network_namespace)
            for kind, descriptor in zip(sorted(pod.listeners), add.descriptors[1:], strict=True):
                assert same_file(descriptor, pod.listeners[kind].fileno())
            assert served.server.connected_pids == (os.getpid(),)


async def test_istios_proxy_gets_the_namespace_alone(tmp_path: Path, pod: Enrolled) -> None:
    """A proxy that does not take listeners gets one descriptor, as Istio's protocol has it."""
    async with serving(tmp_path) as served:
        with pytest.raises(NotEnrolledError):
            await served.server.add(pod)

        with await served.peer(takes_listeners=False, snapshot=2) as peer:
            assert peer.heard[0].listeners == []
            assert len(peer.heard[0].descriptors) == 1


async def test_istios_proxy_is_never_told_to_retire(tmp_path: Path) -> None:
    """It would end its process on a request that it does not know."""
    async with serving(tmp_path) as served:
        with await served.peer(takes_listeners=False) as peer:
            await served.server.retire(os.getpid())
            removing = asyncio.get_running_loop().create_future()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(served.server.remove("uid-9"))
                removing.set_result(await peer.take(1))

            assert [heard.kind for heard in removing.result()] == ["del"]


async def test_add_is_done_when_the_proxy_has_taken_it(tmp_path: Path, pod: Enrolled) -> None:
    """``add`` waits for the answer; a refusal is an error with the proxy's words."""
    async with serving(tmp_path) as served:
        with await served.peer() as peer:
            async with asyncio.TaskGroup() as tasks:
                adding = tasks.create_task(served.server.add(pod))
                assert await peer.hear()
                assert not adding.done()
                peer.answer()

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_refuse(peer, "port 15006 is taken"))
                with pytest.raises(NotEnrolledError, match="port 15006 is taken"):
                    await served.server.add(pod)


async def _refuse(peer: ZdsPeer, why: str) -> None:
    await peer.hear()
    peer.answer(why)


async def test_late_answer_ends_the_connection(tmp_path: Path, pod: Enrolled) -> None:
    """An answer that comes too late would be taken for the next one's; so nobody waits for it."""
    async with serving(tmp_path, answer_seconds=0.02) as served:
        with await served.peer() as peer:
            with pytest.raises(NotEnrolledError, match="no answer in time"):
                await served.server.add(pod)

            assert (await peer.hear()) is not None
            assert (await peer.hear()) is None


async def test_proxy_that_dies_is_noticed_at_once(tmp_path: Path, pod: Enrolled) -> None:
    """Who waits for an answer hears of the end, and not five seconds later."""
    async with serving(tmp_path, answer_seconds=60) as served:
        peer = await served.peer()
        async with asyncio.TaskGroup() as tasks, asyncio.timeout(5):
            tasks.create_task(_die(peer))
            with pytest.raises(NotEnrolledError, match="has ended"):
                await served.server.add(pod)


async def _die(peer: ZdsPeer) -> None:
    await peer.hear()
    peer.close()


async def test_talking_out_of_turn_ends_the_connection(tmp_path: Path) -> None:
    """A byte that nobody asked for is the end; the server goes on with the next proxy."""
    async with serving(tmp_path) as served:
        with await served.peer() as peer:
            peer.answer()
            assert (await peer.hear()) is None

        with await served.peer():
            assert served.server.connected_pids == (os.getpid(),)


@pytest.mark.parametrize(
    "greeting", [b"\xff\xff", b"\x08\x02", b"x" * 4096, messages.snapshot_sent()]
)
async def test_bad_greeting_ends_the_connection(tmp_path: Path, greeting: bytes) -> None:
    """Whoever does not greet with version 1 is hung up on; others are served."""
    async with serving(tmp_path) as served:
        with ZdsPeer(served.path) as peer:
            peer.send(greeting)
            assert (await peer.hear()) is None

        (await served.peer()).close()


async def test_stranger_is_hung_up_on_and_the_server_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of another user is not served, and does not end the service for others."""

    def refuse(_socket: socket.socket) -> int:
        raise ProxyGoneError("process 7 of user 8 is not ours")

    async with serving(tmp_path) as served:
        with monkeypatch.context() as patched, ZdsPeer(served.path) as peer:
            patched.setattr(zds, "_peer_pid", refuse)
            assert (await peer.hear()) is None

        (await served.peer()).close()


async def test_two_generations_add_goes_to_the_newest_and_remove_to_all(
    tmp_path: Path, pod: Enrolled
) -> None:
    """During an upgrade new pods are the newest's; a pod that is gone is gone everywhere."""
    async with serving(tmp_path) as served:
        with await served.peer() as old, await served.peer() as new:
            async with asyncio.TaskGroup() as tasks:
                obeying = [tasks.create_task(peer.obey()) for peer in (old, new)]
                await served.server.add(pod)
                await served.server.remove("uid-1")
                for task in obeying:
                    task.cancel()

            assert [heard.kind for heard in old.heard] == ["snapshot_sent", "del"]
            assert [heard.kind for heard in new.heard] == ["snapshot_sent", "add", "del"]


async def test_retired_proxy_gets_no_more_pods_but_hears_of_removals(
    tmp_path: Path, pod: Enrolled
) -> None:
    """A retired generation has closed its listeners: a pod given to it would hang."""
    async with serving(tmp_path) as served:
        with await served.peer() as peer:
            async with asyncio.TaskGroup() as tasks:
                obeying = tasks.create_task(peer.obey())
                await served.server.retire(os.getpid())
                with pytest.raises(NotEnrolledError, match="no node proxy is connected"):
                    await served.server.add(pod)
                await served.server.remove("uid-1")
                obeying.cancel()

            assert [heard.kind for heard in peer.heard] == ["snapshot_sent", "retire", "del"]


async def test_removed_pod_is_not_in_the_next_snapshot(tmp_path: Path, pod: Enrolled) -> None:
    """What was taken off the list while no proxy was there is not brought up again."""
    async with serving(tmp_path) as served:
        with pytest.raises(NotEnrolledError):
            await served.server.add(pod)
        await served.server.remove(pod.uid)

        with await served.peer(snapshot=1) as peer:
            assert [heard.kind for heard in peer.heard] == ["snapshot_sent"]
