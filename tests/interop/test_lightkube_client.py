"""lightkube, the client the control plane uses, against the embedded API."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.models.core_v1 import ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, Service
from lightkube.types import CascadeType, PatchType

from support.apiserver import ApiServer, serving

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One server for all tests."""
    with serving(tmp_path_factory.mktemp("api")) as running:
        yield running


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[AsyncClient]:
    """A client as the administrator."""
    config = KubeConfig.from_file(str(server.home.kubeconfig)).get()
    async with AsyncClient(config=config, namespace="default", field_manager="lk") as connected:
        yield connected


def _map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name, labels={"t": "lightkube"}), data=data)


async def test_objects_are_created_changed_listed_and_deleted(client: AsyncClient) -> None:
    """The whole life of an object, with the errors on the way."""
    created = await client.create(_map("life", x="1"))
    with pytest.raises(ApiError) as twice:
        await client.create(_map("life", x="1"))
    patch = {"data": {"y": "2"}}
    patched = await client.patch(ConfigMap, "life", patch, patch_type=PatchType.MERGE)
    assert created.metadata
    stale = _map("life", z="3")
    assert stale.metadata
    stale.metadata.resourceVersion = created.metadata.resourceVersion
    with pytest.raises(ApiError) as conflict:
        await client.replace(stale)
    listed = [item async for item in client.list(ConfigMap, labels={"t": "lightkube"})]
    await client.delete(ConfigMap, "life", cascade=CascadeType.FOREGROUND)

    assert patched.data == {"x": "1", "y": "2"}
    assert twice.value.status.reason == "AlreadyExists"
    assert conflict.value.status.reason == "Conflict"
    assert [item.metadata.name for item in listed if item.metadata] == ["life"]


async def test_apply_conflicts_name_the_field(client: AsyncClient) -> None:
    """Server-side apply, with the causes that the client gives."""
    await client.apply(_map("applied", x="1"), field_manager="one")

    with pytest.raises(ApiError) as refused:
        await client.apply(_map("applied", x="2"), field_manager="two")
    forced = await client.apply(_map("applied", x="2"), field_manager="two", force=True)

    assert refused.value.status.details
    assert refused.value.status.details.causes
    assert refused.value.status.details.causes[0].field == ".data.x"
    assert forced.data == {"x": "2"}


async def test_list_in_chunks_gives_everything_once(client: AsyncClient) -> None:
    """limit and continue are followed by the client."""
    names = {f"chunk-{number}" for number in range(7)}
    await asyncio.gather(*(client.create(_map(name)) for name in sorted(names)))

    found = [item async for item in client.list(ConfigMap, chunk_size=2)]

    listed = [item.metadata.name for item in found if item.metadata]
    assert names <= set(listed)
    assert len(listed) == len(set(listed))


async def test_watch_sees_what_another_writes(client: AsyncClient) -> None:
    """Events arrive in order, from a version on."""
    namespace = await client.create(Namespace(metadata=ObjectMeta(name="watched")))
    assert namespace.metadata
    since = namespace.metadata.resourceVersion
    port = ServicePort(port=80)
    service = Service(
        metadata=ObjectMeta(name="s", namespace="watched"), spec=ServiceSpec(ports=[port])
    )
    await client.create(service)
    await client.patch(Service, "s", {"metadata": {"labels": {"a": "b"}}}, namespace="watched")
    await client.delete(Service, "s", namespace="watched")

    seen = []
    async with asyncio.timeout(20):
        watch = client.watch(Service, namespace="watched", resource_version=since)
        async for kind, _ in watch:
            seen.append(kind)
            if kind == "DELETED":
                break

    assert seen == ["ADDED", "MODIFIED", "DELETED"]


async def test_many_writers_at_once_lose_nothing(client: AsyncClient) -> None:
    """Sixteen writers change one object by patches: every change is there."""
    await client.create(_map("shared"))

    await asyncio.gather(
        *(client.patch(ConfigMap, "shared", {"data": {f"k{n}": "v"}}) for n in range(64))
    )

    found = await client.get(ConfigMap, "shared")
    assert found.data == {f"k{n}": "v" for n in range(64)}
