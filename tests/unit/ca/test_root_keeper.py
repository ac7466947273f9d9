"""The root in its Secret, with several replicas and with people who change it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from ambimesh.ca.authority import make_root
from ambimesh.ca.root import SECRET_NAME, RootKeeper, write_secret
from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN
from support.kube import FakeApi, connect


def utc_now() -> datetime:
    """Tell the time."""
    return datetime.now(UTC)


@asynccontextmanager
async def keeping(api: FakeApi, folder: Path, count: int) -> AsyncIterator[list[RootKeeper]]:
    """Run keepers, as replicas do."""
    cluster = await connect(api, folder)
    keepers = [
        RootKeeper(
            cluster, "istio-system", DEFAULT_TRUST_DOMAIN, clock=utc_now, retry_seconds=0.001
        )
        for _ in range(count)
    ]
    started = [asyncio.Event() for _ in keepers]
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(keeper.run(started=event.set))
            for keeper, event in zip(keepers, started, strict=True)
        ]
        for event in started:
            await event.wait()
        yield keepers
        for task in running:
            task.cancel()
    await cluster.close()


async def test_replicas_that_start_together_agree_on_one_root(tmp_path: Path) -> None:
    """One creates the Secret; all have what is in it."""
    api = FakeApi()

    async with keeping(api, tmp_path, 3) as keepers:
        authorities = [keeper.current() for keeper in keepers]

    serials = {a.certificate.serial_number for a in authorities if a is not None}
    assert len(serials) == 1
    assert len(authorities) == 3


async def test_changed_secret_takes_force_and_a_broken_one_does_not(tmp_path: Path) -> None:
    """A new root is taken; nonsense leaves the old one in force."""
    api = FakeApi()
    other = make_root(DEFAULT_TRUST_DOMAIN, now=utc_now())

    async with keeping(api, tmp_path, 1) as (keeper,):
        keeper.changed.clear()
        broken = write_secret(other, "istio-system").body()
        broken["data"]["ca-key.pem"] = "bm8="
        api.put(broken)
        api.put(write_secret(other, "istio-system"))
        await keeper.changed.wait()
        authority = keeper.current()

    assert authority is not None
    assert authority.certificate == other.certificate


async def test_deleted_secret_is_written_again_with_the_same_root(tmp_path: Path) -> None:
    """Deleting the Secret must not end the trust of everything that runs."""
    api = FakeApi()
    path = f"api/v1/namespaces/istio-system/secrets/{SECRET_NAME}"

    async with keeping(api, tmp_path, 1) as (keeper,):
        before = keeper.current()
        stored = api.objects[path]
        api.remove(stored)
        await api.wait_for(lambda: path in api.objects)
        assert api.objects[path]["data"]["ca-cert.pem"] == stored["data"]["ca-cert.pem"]
        assert keeper.current() is before


async def test_root_is_stored_as_soon_as_the_server_allows(tmp_path: Path) -> None:
    """A failing API server delays the start; it does not end it."""
    api = FakeApi()
    for _ in range(3):
        api.refuse(500, when=lambda request: request.method == "POST")

    async with keeping(api, tmp_path, 1) as (keeper,):
        assert keeper.current() is not None
