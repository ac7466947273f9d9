"""The reflector against a fake API server that misbehaves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ambimesh.kube.objects import ConfigMap, EndpointSlice, Metadata, Service
from ambimesh.kube.reflector import Reflector
from support.kube import FakeApi, connect


def config_map(name: str, **data: str) -> ConfigMap:
    """Make a config map in namespace ``default``."""
    return ConfigMap(metadata=Metadata(name=name, namespace="default"), data=data)


@asynccontextmanager
async def following(api: FakeApi, folder: Path) -> AsyncIterator[Reflector[ConfigMap]]:
    """Run a reflector of config maps."""
    cluster = await connect(api, folder)
    reflector = cluster.reflector(ConfigMap)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(reflector.run(started=lambda: None))
        await reflector.wait_synced()
        yield reflector
        task.cancel()
    await cluster.close()


async def until(reflector: Reflector[ConfigMap], names: set[str]) -> None:
    """Wait until exactly the named objects are known."""
    async for _ in reflector.changes():
        if {name for _, name in reflector.snapshot()} == names:
            return


@pytest.mark.parametrize("streams_lists", [True, False])
async def test_reflector_follows_additions_changes_and_deletions(
    tmp_path: Path, streams_lists: bool
) -> None:
    """A collection is known whole and stays known, with streaming lists and without."""
    api = FakeApi(streams_lists=streams_lists)
    api.put(config_map("a"))

    async with following(api, tmp_path) as reflector:
        assert set(reflector.snapshot()) == {("default", "a")}
        await api.wait_watchers(1)
        api.put(config_map("b"))
        await until(reflector, {"a", "b"})
        api.remove(config_map("a"))
        await until(reflector, {"b"})


async def test_reflector_resumes_after_the_watch_ends(tmp_path: Path) -> None:
    """A watch that ends is resumed from the last version, not listed anew."""
    api = FakeApi()
    api.put(config_map("a"))

    async with following(api, tmp_path) as reflector:
        await api.wait_watchers(1)
        api.end_watches()
        api.put(config_map("b"))
        await until(reflector, {"a", "b"})
        resumed = api.requests[-1].url.params

    assert "sendInitialEvents" not in resumed
    assert resumed["resourceVersion"] == "1"


async def test_reflector_after_410_reports_deletions_it_missed(tmp_path: Path) -> None:
    """An object deleted while history was lost is gone after the relist, and named as changed."""
    api = FakeApi()
    api.put(config_map("a"))
    api.put(config_map("b"))

    async with following(api, tmp_path) as reflector:
        await api.wait_watchers(1)
        changes = reflector.changes()
        await anext(changes)
        with api.unheard():
            api.remove(config_map("a"))
        api.expire()
        api.end_watches()
        changed = await anext(changes)

        assert changed == {("default", "a")}
        assert set(reflector.snapshot()) == {("default", "b")}


async def test_reflector_keeps_the_last_objects_while_the_server_fails(tmp_path: Path) -> None:
    """Errors of the server never empty the copy."""
    api = FakeApi()
    api.put(config_map("a"))

    async with following(api, tmp_path) as reflector:
        await api.wait_watchers(1)
        for _ in range(3):
            api.refuse(500, when=lambda r: True)
        api.end_watches()
        api.put(config_map("b"))
        assert ("default", "a") in reflector.snapshot()
        await until(reflector, {"a", "b"})
        assert not api.refusals


async def test_reflector_reads_an_error_event_as_the_end_of_history(tmp_path: Path) -> None:
    """A 410 in the middle of a watch leads to a relist."""
    api = FakeApi()
    api.put(config_map("a"))

    async with following(api, tmp_path) as reflector:
        await api.wait_watchers(1)
        with api.unheard():
            api.remove(config_map("a"))
            api.put(config_map("c"))
        api.send_line(b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"old"}}')
        await until(reflector, {"c"})


async def test_reflector_survives_a_line_that_is_not_json(tmp_path: Path) -> None:
    """Garbage in a watch ends that watch only."""
    api = FakeApi()

    async with following(api, tmp_path) as reflector:
        await api.wait_watchers(1)
        api.send_line(b'{"type": "ADDED", "obj')
        api.put(config_map("a"))
        await until(reflector, {"a"})


async def test_reflector_leaves_out_an_object_of_a_wrong_type_and_says_so(tmp_path: Path) -> None:
    """One bad object does not hide the others, and is named."""
    api = FakeApi()
    api.put({**config_map("bad").body(), "data": {"x": 1}})
    api.put(config_map("good"))

    async with following(api, tmp_path) as reflector:
        assert set(reflector.snapshot()) == {("default", "good")}
        assert "`$.data[...]`" in reflector.undecodable[("default", "bad")]
        await api.wait_watchers(1)
        api.put(config_map("bad", x="1"))
        await until(reflector, {"good", "bad"})
        assert not reflector.undecodable


async def test_reflector_of_an_absent_kind_is_empty_until_it_appears(tmp_path: Path) -> None:
    """A kind that the server does not have yet does not hold up the start."""
    api = FakeApi(absent={"configmaps"})
    api.put(config_map("a"))

    async with following(api, tmp_path) as reflector:
        assert not reflector.snapshot()
        api.absent.clear()
        await until(reflector, {"a"})


async def test_reflector_takes_a_long_list_in_pages(tmp_path: Path) -> None:
    """More objects than fit one page arrive complete and at once."""
    api = FakeApi(streams_lists=False)
    for number in range(1201):
        api.put(config_map(f"m{number}"))

    async with following(api, tmp_path) as reflector:
        assert len(reflector.snapshot()) == 1201

    pages = [r for r in api.requests if "limit" in r.url.params]
    assert len(pages) == 3


async def test_reflector_takes_null_for_absent(tmp_path: Path) -> None:
    """Go writes empty slices as null; that is no error."""
    api = FakeApi()
    empty = EndpointSlice(metadata=Metadata(name="s", namespace="default")).body()
    api.put({**empty, "endpoints": None, "ports": None})
    cluster = await connect(api, tmp_path)

    (found,) = await cluster.list(EndpointSlice)

    assert found.endpoints == ()
    await cluster.close()


async def test_services_decode_as_kubernetes_writes_them(tmp_path: Path) -> None:
    """Field names with capitals inside are read as the API spells them."""
    api = FakeApi()
    service = Service(metadata=Metadata(name="web", namespace="default")).body()
    service["spec"] = {
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1", "fd00::1"],
        "ports": [{"port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"}],
    }
    api.put(service)
    cluster = await connect(api, tmp_path)

    found = await cluster.get(Service, "web", "default")

    assert found.spec.cluster_ips == ("10.0.0.1", "fd00::1")
    assert found.spec.ports[0].target_port == "http"
    await cluster.close()
