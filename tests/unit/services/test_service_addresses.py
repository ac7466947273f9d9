"""Programming service addresses while the API and nft do what they do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ambimesh.kube.core import EndpointSlice, Service, ServicePort, ServiceSpec
from ambimesh.kube.meta import Metadata
from ambimesh.local.services import service_addresses
from ambimesh.local.services.service_addresses import ServiceAddresses
from ambimesh.node import nftables
from ambimesh.node.nftables import RulesetError
from support.kube import FakeApi, connect


def service(name: str, address: str) -> Service:
    """Make a service."""
    spec = ServiceSpec(cluster_ips=(address,), ports=(ServicePort(port=80),))
    return Service(metadata=Metadata(name=name, namespace="demo"), spec=spec)


class FakeNft:
    """Takes transactions, or refuses the next ones."""

    def __init__(self) -> None:
        self.refusals = 0
        self.loaded: asyncio.Queue[str] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    def load(self, _namespace: int, ruleset: str) -> None:
        """Take one; called on a thread."""
        if self.refusals:
            self.refusals -= 1
            raise RulesetError("busy")
        self._loop.call_soon_threadsafe(self.loaded.put_nowait, ruleset)

    async def next(self) -> str:
        """Give the next one that was taken."""
        async with asyncio.timeout(5):
            return await self.loaded.get()


@pytest.fixture
async def nft(monkeypatch: pytest.MonkeyPatch) -> FakeNft:
    """A fake nft, and no pauses."""
    made = FakeNft()
    monkeypatch.setattr(nftables, "load", made.load)
    monkeypatch.setattr(service_addresses, "SETTLE_SECONDS", 0.001)
    monkeypatch.setattr(service_addresses, "RETRY_SECONDS", 0.001)
    return made


@asynccontextmanager
async def running(api: FakeApi, folder: Path) -> AsyncIterator[None]:
    """Follow an API server for the length of the block."""
    cluster = await connect(api, folder)
    services, slices = cluster.reflector(Service), cluster.reflector(EndpointSlice)
    started = asyncio.Event()
    programming = ServiceAddresses(-1, services, slices)
    async with asyncio.TaskGroup() as tasks:
        parts = [
            tasks.create_task(services.run(started=lambda: None)),
            tasks.create_task(slices.run(started=lambda: None)),
            tasks.create_task(programming.run(started=started.set)),
        ]
        async with asyncio.timeout(5):
            await started.wait()
        yield
        for part in parts:
            part.cancel()
    await cluster.close()


async def test_started_means_that_services_answer(nft: FakeNft, tmp_path: Path) -> None:
    """What is known at the start is in force then, in one transaction with the table."""
    api = FakeApi()
    api.put(service("web", "198.19.0.10"))
    async with running(api, tmp_path):
        first = nft.loaded.get_nowait()
        assert first.startswith("table inet ambimesh-services")
        assert "198.19.0.10 . tcp . 80" in first

        api.put(service("db", "198.19.0.11"))
        change = await nft.next()
        assert "198.19.0.11" in change
        assert "198.19.0.10" not in change


async def test_refused_change_starts_over_until_it_holds(nft: FakeNft, tmp_path: Path) -> None:
    """After a refusal nobody knows what stands: the whole is programmed, without a new change."""
    api = FakeApi()
    api.put(service("web", "198.19.0.10"))
    async with running(api, tmp_path):
        await nft.next()
        nft.refusals = 3

        api.put(service("db", "198.19.0.11"))

        whole = await nft.next()
        assert "delete table" in whole
        assert "198.19.0.10 . tcp" in whole
        assert "198.19.0.11 . tcp" in whole


async def test_nft_that_refuses_at_the_start_is_asked_again(nft: FakeNft, tmp_path: Path) -> None:
    """A node does not end for it."""
    nft.refusals = 2
    async with running(FakeApi(), tmp_path):
        assert "delete table" in nft.loaded.get_nowait()
