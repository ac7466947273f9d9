"""Requests of the cluster client, and errors that name the object."""

from pathlib import Path

import httpx2
import pytest

from ambimesh.kube.cluster import Cluster
from ambimesh.kube.errors import (
    ApiRequestError,
    ApiServerFaultError,
    ApiUnreachableError,
    ForbiddenError,
    KubeconfigError,
    ObjectConflictError,
    ObjectExistsError,
    ObjectNotFoundError,
    ObjectRejectedError,
)
from ambimesh.kube.objects import ConfigMap, Lease, LeaseSpec, Metadata, Node, Secret
from support.kube import FakeApi, connect

NAMED = ConfigMap(metadata=Metadata(name="m", namespace="n"), data={"k": "v"})


async def test_objects_are_created_read_changed_and_deleted(tmp_path: Path) -> None:
    """The whole life of an object through the client."""
    cluster = await connect(FakeApi(), tmp_path)

    created = await cluster.create(NAMED)
    assert created.data == {"k": "v"}
    patched = await cluster.patch(ConfigMap, "m", "n", {"data": {"k": None, "l": "w"}})
    assert patched.data == {"l": "w"}
    assert await cluster.list(ConfigMap, namespace="n") == (patched,)
    await cluster.delete(ConfigMap, "m", "n")
    assert await cluster.find(ConfigMap, "m", "n") is None
    await cluster.close()


async def test_server_side_apply_names_the_object_and_its_manager(tmp_path: Path) -> None:
    """The caller gives only the fields it wants."""
    api = FakeApi()
    cluster = await connect(api, tmp_path)

    applied = await cluster.patch(
        ConfigMap, "m", "n", {"data": {"a": "b"}}, style="apply", manager="me"
    )

    assert applied.key == ("n", "m")
    request = api.requests[-1]
    assert request.url.params["fieldManager"] == "me"
    assert request.url.params["force"] == "true"
    assert request.headers["content-type"] == "application/apply-patch+yaml"
    await cluster.close()


async def test_bytes_of_secrets_travel_as_base64(tmp_path: Path) -> None:
    """What is written as bytes reads back as the same bytes."""
    api = FakeApi()
    cluster = await connect(api, tmp_path)
    secret = Secret(metadata=Metadata(name="s", namespace="n"), data={"k": b"\x00\xff"})

    assert (await cluster.create(secret)).data == {"k": b"\x00\xff"}
    stored = api.stored(secret)
    assert stored is not None
    assert stored["data"]["k"] == "AP8="
    await cluster.close()


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, ObjectRejectedError),
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, ObjectNotFoundError),
        (409, ObjectConflictError),
        (422, ObjectRejectedError),
        (429, ApiServerFaultError),
        (500, ApiServerFaultError),
        (503, ApiServerFaultError),
    ],
)
async def test_refusals_name_the_object_and_the_reason(
    tmp_path: Path, status: int, error: type[ApiRequestError]
) -> None:
    """Every status becomes one kind of error, with the object and the server's words."""
    api = FakeApi()
    api.refuse(status, when=lambda request: True)
    cluster = await connect(api, tmp_path)

    with pytest.raises(error) as caught:
        await cluster.get(ConfigMap, "m", "n")

    assert "configmap n/m" in caught.value.problem.text
    assert "a test said so" in caught.value.problem.cause
    await cluster.close()


async def test_second_creation_and_stale_write_are_told_apart(tmp_path: Path) -> None:
    """Both are 409; only one of them means that the object is there."""
    cluster = await connect(FakeApi(), tmp_path)
    await cluster.create(NAMED)
    with pytest.raises(ObjectExistsError):
        await cluster.create(NAMED)

    lease = await cluster.create(Lease(metadata=Metadata(name="l", namespace="n")))
    await cluster.replace(Lease(metadata=lease.metadata, spec=LeaseSpec(holder_identity="a")))
    with pytest.raises(ObjectConflictError):
        await cluster.replace(Lease(metadata=lease.metadata, spec=LeaseSpec(holder_identity="b")))
    await cluster.close()


async def test_server_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    """A refused connection names the server."""

    class Dead(httpx2.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            raise httpx2.ConnectError("connection refused")

    kubeconfig = tmp_path / "kubeconfig"
    await connect(FakeApi(), tmp_path)
    cluster = await Cluster.connect(kubeconfig, transport=Dead())

    with pytest.raises(ApiUnreachableError) as caught:
        await cluster.get(Node, "n")

    assert "http://fake" in caught.value.problem.text
    assert caught.value.problem.cause == "connection refused"
    await cluster.close()


@pytest.mark.parametrize(
    "text", ["", "{", "a: b", "current-context: x\nclusters: []\ncontexts: []", "[]"]
)
async def test_unusable_kubeconfig_is_named(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with the file, the error is one and says which file."""
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(KubeconfigError, match="config"):
        await Cluster.connect(path)
    with pytest.raises(KubeconfigError):
        await Cluster.connect(tmp_path / "missing")
