"""A node proxy's token and root certificate."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ambimesh.kube.core import ConfigMap
from ambimesh.kube.meta import Metadata
from ambimesh.node.credentials import ProxyCredentials, half_life
from ambimesh.node.private_file import write_private
from support.kube import FakeApi, connect

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("expires", "seconds"),
    [
        ("2026-01-01T00:20:00Z", 600),
        ("2026-01-01T01:00:00Z", 1800),
        ("2026-01-02T00:00:00Z", 1800),
        ("2026-01-01T00:00:01Z", 1),
        ("2025-12-31T00:00:00Z", 1),
    ],
)
def test_token_is_renewed_at_half_of_what_is_left(expires: str, seconds: float) -> None:
    """At most half an hour ahead, and never in a loop without a pause."""
    assert half_life(expires, NOW) == seconds


def test_private_file_is_replaced_whole_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Nobody else can read it, at any moment."""
    path = tmp_path / "folder" / "token"
    path.parent.mkdir()
    write_private(path, b"one")
    write_private(path, b"two")

    assert path.read_text() == "two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == ["token"]


async def test_started_is_called_when_both_files_are_there(tmp_path: Path) -> None:
    """The proxy is started after that, and asks as the pod that stands for it."""
    api = FakeApi()
    meta = Metadata(name="istio-ca-root-cert", namespace="istio-system")
    api.put(ConfigMap(metadata=meta, data={"root-cert.pem": "PEM"}))
    cluster = await connect(api, tmp_path)
    credentials = ProxyCredentials(
        cluster, directory=tmp_path / "proxy", namespace="istio-system",
        service_account="ztunnel", pod=("ztunnel-node-1", "uid"),
    )  # fmt: skip
    started = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(credentials.run(started=started.set))
        async with asyncio.timeout(5):
            await started.wait()
        task.cancel()
    await cluster.close()

    assert credentials.root_file.read_text() == "PEM"
    assert credentials.token_file.read_text() == "made"
    assert api.requests[-1].url.path == (
        "/api/v1/namespaces/istio-system/serviceaccounts/ztunnel/token"
    )
