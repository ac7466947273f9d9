"""`ambi controlplane` as a process, with `ambi apiserver` as a process: real TLS, real tokens."""

import asyncio
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import yaml

from ambimesh.model.workload import Workload
from support.apiserver import ApiServer, Client, serving
from support.pki import make_request
from support.xds import Mirror, create_certificate, open_channel, subscribed

START_SECONDS = 30
POLICIES = "/apis/security.istio.io/v1/namespaces/demo/authorizationpolicies"
UID = "Kubernetes//Pod/demo/web"


class ControlPlane:
    """A control plane process."""

    def __init__(self, folder: Path, api: ApiServer) -> None:
        self._log = folder / "controlplane.log"
        config = yaml.safe_load((api.home.credentials / "controlplane.kubeconfig").read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{api.port}"
        self._kubeconfig = folder / "controlplane.kubeconfig"
        self._kubeconfig.write_text(yaml.safe_dump(config))
        self.xds = self.monitor = ""

    @contextmanager
    def running(self) -> Iterator["ControlPlane"]:
        """Run it until the block ends, then see that it ends well."""
        program = "from ambimesh.cli.main import main; main()"
        command = [sys.executable, "-c", program, "controlplane"]
        command += ["--kubeconfig", str(self._kubeconfig)]
        command += ["--listen", "127.0.0.1:0", "--monitor", "127.0.0.1:0"]
        with self._log.open("wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        watchdog = threading.Timer(START_SECONDS, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            line = process.stdout.readline().decode()
            assert line.startswith("READY "), self._log.read_text()
            found = dict(part.split("=", 1) for part in line.split()[1:])
            self.xds, self.monitor = found["xds"], found["monitor"]
            yield self
            process.send_signal(signal.SIGTERM)
            assert process.wait(START_SECONDS) == 0, self._log.read_text()
        finally:
            watchdog.cancel()
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()


def pod(namespace: str, name: str, account: str) -> dict[str, Any]:
    """Make a pod that is bound to the node."""
    spec = {
        "nodeName": "node-1",
        "serviceAccountName": account,
        "containers": [{"name": "c", "image": "i", "command": ["true"]}],
    }
    metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def populate(client: Client) -> str:
    """Make a node with its node proxy's pod, and a running pod; give the node proxy's token."""
    client.create("/api/v1/nodes", {"metadata": {"name": "node-1"}})
    client.create("/api/v1/namespaces", {"metadata": {"name": "demo"}})
    client.create("/api/v1/namespaces/demo/serviceaccounts", {"metadata": {"name": "web"}})
    accounts = "/api/v1/namespaces/istio-system/serviceaccounts"
    if client.call("GET", f"{accounts}/ztunnel").status == 404:
        client.create(accounts, {"metadata": {"name": "ztunnel"}})
    pods = "/api/v1/namespaces/{}/pods"
    proxy = client.create(
        pods.format("istio-system"), pod("istio-system", "ztunnel-node-1", "ztunnel")
    )
    client.create(pods.format("demo"), pod("demo", "web", "web"))
    status = {
        "phase": "Running",
        "podIP": "198.18.1.10",
        "podIPs": [{"ip": "198.18.1.10"}],
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    client.patch(f"{pods.format('demo')}/web/status", {"status": status})
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "ztunnel-node-1"}
    request = {
        "spec": {
            "audiences": ["istio-ca"],
            "expirationSeconds": 3600,
            "boundObjectRef": {**bound, "uid": proxy["metadata"]["uid"]},
        }
    }
    return str(client.create(f"{accounts}/ztunnel/token", request)["status"]["token"])


def root_of(client: Client, namespace: str) -> bytes:
    """Read the trust bundle of a namespace, once it is there."""
    path = f"/api/v1/namespaces/{namespace}/configmaps/istio-ca-root-cert"
    fields = f"/api/v1/namespaces/{namespace}/configmaps?watch=true&fieldSelector=metadata.name%3Distio-ca-root-cert"
    with client.watch(fields) as events:
        if client.call("GET", path).status != 200:
            next(events)
    bundle: str = client.get(path)["data"]["root-cert.pem"]
    return bundle.encode()


async def timed(mirror: Mirror, change: Callable[[], object], seen: Callable[[], bool]) -> float:
    """Make a change and give the seconds until the subscriber has seen it."""
    began = time.monotonic()
    await asyncio.to_thread(change)
    await mirror.wait_until(seen)
    return time.monotonic() - began


def deny(name: str) -> dict[str, Any]:
    """Make a policy that denies all to the web pod."""
    spec = {"selector": {"matchLabels": {"app": "web"}}, "action": "DENY", "rules": [{}]}
    return {"metadata": {"name": name, "namespace": "demo"}, "spec": spec}


def condition_of(client: Client, name: str) -> dict[str, Any]:
    """Wait for the condition of a policy."""
    with client.watch(f"{POLICIES}?watch=true&fieldSelector=metadata.name%3D{name}") as events:
        for event in events:
            conditions = event["object"].get("status", {}).get("conditions", [])
            if conditions:
                found: dict[str, Any] = conditions[0]
                return found
    raise AssertionError("the watch ended")


@pytest.mark.timeout(180)
def test_control_plane_serves_what_the_api_server_has(tmp_path: Path) -> None:
    """Discovery, policies, conditions, certificates; and an API server killed meanwhile."""
    with serving(tmp_path) as api:
        client = api.client()
        token = populate(client)
        with ControlPlane(tmp_path, api).running() as plane:
            root = root_of(client, "demo")
            asyncio.run(converse(plane, api, token, root))


async def converse(plane: ControlPlane, api: ApiServer, token: str, root: bytes) -> None:
    """Be a node proxy, and a person who changes things."""
    client = api.client()
    async with (
        open_channel(plane.xds, root, name="") as channel,
        subscribed(channel, token) as mirror,
    ):
        web = mirror.addresses[UID]
        assert isinstance(web, Workload)
        assert web.service_account == "web"

        took = await timed(
            mirror,
            lambda: client.create(POLICIES, deny("one")),
            lambda: "demo/one" in mirror.policies and _lists(mirror, "demo/one"),
        )
        assert took < 1.0
        found = await asyncio.to_thread(condition_of, client, "one")
        assert (found["type"], found["status"]) == ("ZtunnelAccepted", "True")

        identity = "spiffe://cluster.local/ns/demo/sa/web"
        chain = await create_certificate(channel, token, make_request(), impersonated=identity)
        assert chain[-1].encode() == root
        with pytest.raises(grpc.aio.AioRpcError):
            await create_certificate(
                channel, token, make_request(), impersonated=identity.replace("web", "other")
            )

        await asyncio.to_thread(api.kill)
        await asyncio.to_thread(api.start)
        await timed(
            mirror,
            lambda: client.call("DELETE", f"{POLICIES}/one"),
            lambda: "demo/one" not in mirror.policies and not _lists(mirror, "demo/one"),
        )


def _lists(mirror: Mirror, policy: str) -> bool:
    web = mirror.addresses[UID]
    assert isinstance(web, Workload)
    return policy in web.authorization_policies
