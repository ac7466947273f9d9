"""A whole control plane in this process: fake API server in, gRPC over TLS out."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import grpc.aio
import httpx2
import pytest
from cryptography import x509

from ambimesh.ca.authority import make_root
from ambimesh.ca.root import write_secret
from ambimesh.controlplane.service import ControlPlane, Listening, MeshChangedError
from ambimesh.controlplane.settings import Endpoint, Settings
from ambimesh.diagnostics.problem import EnvironmentFaultError
from ambimesh.kube.objects import (
    AuthorizationPolicy,
    Condition,
    ConfigMap,
    Metadata,
    Namespace,
    Node,
    Pod,
    PodAddress,
    PodSpec,
    PodStatus,
    Service,
    ServicePort,
    ServiceSpec,
)
from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN
from ambimesh.model.names import ResourceName
from ambimesh.model.workload import TunnelProtocol, Workload
from ambimesh.wire.resources import ADDRESS_TYPE, AUTHORIZATION_TYPE
from support.kube import FakeApi, connect
from support.pki import make_request
from support.xds import (
    NODE_ID,
    converse,
    create_certificate,
    first_request,
    open_channel,
    subscribed,
)

TOKEN = "node-1-token"


@dataclass
class Running:
    """A control plane that serves."""

    api: FakeApi
    listening: Listening

    @property
    def target(self) -> str:
        """Where discovery is."""
        return str(self.listening.discovery[0])

    @property
    def root(self) -> bytes:
        """The trust bundle, as the API server has it."""
        stored = self.api.objects["api/v1/namespaces/istio-system/secrets/istio-ca-secret"]
        return base64.b64decode(stored["data"]["root-cert.pem"])


def pod(
    name: str,
    ip: str,
    *,
    namespace: str = "default",
    labels: dict[str, str] | None = None,
    account: str = "default",
    node: str = "node-1",
    captured: bool = False,
) -> Pod:
    """Make a ready pod."""
    annotations = {"ambient.istio.io/redirection": "enabled"} if captured else {}
    return Pod(
        metadata=Metadata(
            name=name,
            namespace=namespace,
            uid=f"uid-{name}",
            labels=labels or {},
            annotations=annotations,
        ),
        spec=PodSpec(node_name=node, service_account_name=account),
        status=PodStatus(
            phase="Running",
            pod_ips=(PodAddress(ip=ip),),
            conditions=(Condition(type="Ready", status="True"),),
        ),
    )


def fake_mesh() -> FakeApi:
    """Make an API server with a namespace, a node, and the node proxy's pod and token."""
    api = FakeApi()
    for name in ("default", "istio-system"):
        api.put(Namespace(metadata=Metadata(name=name)))
    api.put(Node(metadata=Metadata(name="node-1")))
    api.put(pod("ztunnel-node-1", "198.18.0.2", namespace="istio-system", account="ztunnel"))
    api.tokens[TOKEN] = {
        "username": "system:serviceaccount:istio-system:ztunnel",
        "groups": ["system:serviceaccounts"],
        "extra": {
            "authentication.kubernetes.io/pod-name": ["ztunnel-node-1"],
            "authentication.kubernetes.io/pod-uid": ["uid-ztunnel-node-1"],
        },
    }
    return api


@asynccontextmanager
async def serving(api: FakeApi, folder: Path) -> AsyncIterator[Running]:
    """Run a control plane on free ports."""
    cluster = await connect(api, folder)
    settings = Settings(
        kubeconfig=None,
        listen=(Endpoint(host="127.0.0.1", port=0),),
        monitor=Endpoint(host="127.0.0.1", port=0),
        identity="test",
    )
    ready: asyncio.Future[Listening] = asyncio.get_running_loop().create_future()
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        task = tasks.create_task(ControlPlane(settings, cluster).run(started=ready.set_result))
        yield Running(api, await ready)
        task.cancel()
    await cluster.close()


async def test_subscriber_sees_pods_services_and_policies_change(tmp_path: Path) -> None:
    """What is applied reaches a subscriber over TLS, and so does its change and its end."""
    api = fake_mesh()
    uid = ResourceName("Kubernetes//Pod/default/web")
    api.put(pod("web", "198.18.1.10", labels={"app": "web"}))
    spec = ServiceSpec(
        cluster_ip="198.19.0.10",
        selector={"app": "web"},
        ports=(ServicePort(port=80, target_port=8080),),
    )
    api.put(Service(metadata=Metadata(name="web", namespace="default"), spec=spec))

    async with (
        serving(api, tmp_path) as running,
        open_channel(running.target, running.root) as channel,
        subscribed(channel, TOKEN) as mirror,
    ):
        first = mirror.addresses[uid]
        assert isinstance(first, Workload)
        assert "default/web.default.svc.cluster.local" in first.services
        assert first.tunnel_protocol is TunnelProtocol.NONE

        api.put(pod("web", "198.18.1.10", labels={"app": "web"}, captured=True))
        await mirror.wait_until(lambda: mirror.addresses[uid] != first)
        second = mirror.addresses[uid]
        assert isinstance(second, Workload)
        assert second.tunnel_protocol is TunnelProtocol.HBONE

        policy = AuthorizationPolicy(
            metadata=Metadata(name="deny", namespace="default", generation=3),
            spec={"selector": {"matchLabels": {"app": "web"}}, "action": "DENY", "rules": [{}]},
        )
        api.put(policy)
        await mirror.wait_until(lambda: "default/deny" in mirror.policies)
        await mirror.wait_until(lambda: mirror.addresses[uid] != second)

        api.remove(pod("web", "198.18.1.10"))
        await mirror.wait_until(lambda: uid not in mirror.addresses)


async def test_policy_gets_its_condition_once(tmp_path: Path) -> None:
    """The leader writes the condition of a policy, and not again when nothing changed."""
    api = fake_mesh()
    policy = AuthorizationPolicy(
        metadata=Metadata(name="l7", namespace="default", generation=2),
        spec={"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/admin"]}}]}]},
    )

    async with (
        serving(api, tmp_path) as running,
        open_channel(running.target, running.root) as channel,
        subscribed(channel, TOKEN) as mirror,
    ):
        api.put(policy)
        await mirror.wait_until(lambda: "default/l7" in mirror.policies)
        await api.wait_for(lambda: (api.stored(policy) or {}).get("status"))
        stored = api.stored(policy)
        assert stored is not None
        (condition,) = stored["status"]["conditions"]

    assert condition["type"] == "ZtunnelAccepted"
    assert condition["status"] == "False"
    assert condition["reason"] == "UnsupportedValue"
    assert condition["observedGeneration"] == 2
    assert "paths" in condition["message"]
    writes = [r for r in api.requests if r.url.path.endswith("/status")]
    assert len(writes) == 1


async def test_node_proxy_gets_certificates_of_its_own_pods_only(tmp_path: Path) -> None:
    """A pod on the node: a certificate. On another node, or of nobody: none."""
    api = fake_mesh()
    api.put(pod("web", "198.18.1.10", account="web"))
    api.put(pod("far", "198.18.2.10", account="far", node="node-2"))

    async with (
        serving(api, tmp_path) as running,
        open_channel(running.target, running.root) as channel,
    ):
        csr = make_request()
        web = "spiffe://cluster.local/ns/default/sa/web"
        chain = await create_certificate(channel, TOKEN, csr, impersonated=web)
        assert len(chain) == 2
        for refused in (
            "spiffe://cluster.local/ns/default/sa/far",
            "spiffe://other/ns/default/sa/web",
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await create_certificate(channel, TOKEN, csr, impersonated=refused)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    ("token", "node_id", "code"),
    [
        ("unknown", NODE_ID, grpc.StatusCode.UNAUTHENTICATED),
        (TOKEN, "nonsense", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_stream_is_refused_without_proof_of_who_calls(
    tmp_path: Path, token: str, node_id: str, code: grpc.StatusCode
) -> None:
    """No token, or a node id of another form: no stream."""
    api = fake_mesh()

    async with (
        serving(api, tmp_path) as running,
        open_channel(running.target, running.root) as channel,
    ):
        request = first_request(ADDRESS_TYPE, node_id=node_id)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await converse(channel, token, request)

    assert caught.value.code() is code


async def test_stream_is_refused_to_a_node_of_another_namespace(tmp_path: Path) -> None:
    """A token of one namespace cannot subscribe as a node of another."""
    api = fake_mesh()

    async with (
        serving(api, tmp_path) as running,
        open_channel(running.target, running.root) as channel,
    ):
        request = first_request(ADDRESS_TYPE)
        request.node.metadata["NAMESPACE"] = "default"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await converse(channel, TOKEN, request)

    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_trust_bundle_is_in_every_namespace_and_comes_back(tmp_path: Path) -> None:
    """The ConfigMap is written everywhere, into new namespaces too, and repaired."""
    api = fake_mesh()
    path = "api/v1/namespaces/{}/configmaps/istio-ca-root-cert"

    async with serving(api, tmp_path) as running:
        await api.wait_for(lambda: path.format("default") in api.objects)
        api.put(Namespace(metadata=Metadata(name="late")))
        await api.wait_for(lambda: path.format("late") in api.objects)
        bundle = api.objects[path.format("late")]
        assert bundle["data"]["root-cert.pem"].encode() == running.root
        api.remove(bundle)
        await api.wait_for(lambda: path.format("late") in api.objects)


async def test_second_control_plane_on_a_port_is_one_clear_error(tmp_path: Path) -> None:
    """The error is the catalogue's, not a group of tracebacks, and the first goes on."""
    api = fake_mesh()

    async with serving(api, tmp_path) as running:
        cluster = await connect(api, tmp_path)
        settings = Settings(
            kubeconfig=None,
            listen=running.listening.discovery,
            monitor=Endpoint(host="127.0.0.1", port=0),
            identity="other",
        )
        with pytest.raises(EnvironmentFaultError, match="AMB0703"):
            await ControlPlane(settings, cluster).run(started=lambda _: None)
        await cluster.close()


async def test_changed_mesh_config_ends_the_process_to_be_started_anew(tmp_path: Path) -> None:
    """Another trust domain must not be half in force."""
    api = fake_mesh()
    cluster = await connect(api, tmp_path)
    settings = Settings(
        kubeconfig=None,
        listen=(Endpoint(host="127.0.0.1", port=0),),
        monitor=Endpoint(host="127.0.0.1", port=0),
        identity="test",
    )

    def change(_: Listening) -> None:
        metadata = Metadata(name="istio", namespace="istio-system")
        api.put(ConfigMap(metadata=metadata, data={"mesh": "trustDomain: other"}))

    async with asyncio.timeout(30):
        with pytest.raises(MeshChangedError):
            await ControlPlane(settings, cluster).run(started=change)
    await cluster.close()


async def test_new_root_is_served_distributed_and_signs_without_a_restart(tmp_path: Path) -> None:
    """After the Secret changed, new handshakes, bundles and certificates use the new root."""
    api = fake_mesh()
    path = "api/v1/namespaces/default/configmaps/istio-ca-root-cert"
    other = make_root(DEFAULT_TRUST_DOMAIN, now=datetime.now(UTC))

    async with serving(api, tmp_path) as running:
        await api.wait_for(lambda: path in api.objects)
        before = running.root
        api.put(write_secret(other, "istio-system"))
        await api.wait_for(
            lambda: api.objects[path]["data"]["root-cert.pem"].encode() == running.root != before
        )
        async with open_channel(running.target, running.root) as channel:
            chain = await create_certificate(channel, TOKEN, make_request())

    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    leaf.verify_directly_issued_by(other.certificate)


async def test_monitor_tells_readiness_metrics_and_who_is_in_sync(tmp_path: Path) -> None:
    """The pages of the monitoring port show one subscriber that acknowledged everything."""
    api = fake_mesh()

    async with (
        serving(api, tmp_path) as running,
        open_channel(running.target, running.root) as channel,
        subscribed(channel, TOKEN),
    ):
        monitor = f"http://{running.listening.monitor}"
        async with httpx2.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{monitor}/ready")).status_code == 200
            metrics = (await client.get(f"{monitor}/metrics")).text
            assert "pilot_xds 1.0" in metrics
            assert 'ambimesh_resources{type="Address"} 1.0' in metrics
            (synced,) = (await client.get(f"{monitor}/debug/syncz")).json()
            assert synced["proxy"] == "ztunnel-node-1.istio-system"
            assert synced["resources"].keys() == {ADDRESS_TYPE, AUTHORIZATION_TYPE}
            clients = (await client.get(f"{monitor}/debug/adsz")).json()
            assert clients["totalClients"] == 1
            workloads = (await client.get(f"{monitor}/debug/ambientz")).json()["workloads"]
            assert workloads[0]["addresses"] == ["198.18.0.2"]
            assert (await client.get(f"{monitor}/debug/configz")).json() == []
