"""Who may do what: the fixed rules, seen through requests."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ambimesh.local.apiserver.access.audit import AuditLog
from ambimesh.local.apiserver.access.components import CONTROL_PLANE
from ambimesh.local.apiserver.access.node_restriction import references
from support.apiserver_core import Api, running_api

NODE = "system:node:node-1"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server with a pod on each of two nodes."""
    async with running_api(tmp_path) as running:
        for number in (1, 2):
            body = _pod(f"p{number}", nodeName=f"node-{number}")
            assert (await running.call("POST", PODS, body)).status == 201
        for name in ("used", "unused"):
            secret = {"metadata": {"name": name}, "data": {}}
            await running.call("POST", "/api/v1/namespaces/default/secrets", secret)
        yield running


def _pod(name: str, **spec: Any) -> dict[str, Any]:
    volume = {"name": "v", "secret": {"secretName": "used"}}
    containers = [{"name": "c", "image": "x"}]
    return {
        "metadata": {"name": name},
        "spec": {"containers": containers, "volumes": [volume], **spec},
    }


async def _status(api: Api, user: str, method: str, path: str, body: object = None) -> int:
    reply = await api.call(
        method, path, body, token=api.token(user), content_type=MERGE if method == "PATCH" else ""
    )
    return reply.status


async def _account_token(api: Api, account: str = "default") -> str:
    issued = await api.call("POST", f"{ACCOUNTS}/{account}/token", {"spec": {}})
    return str(issued.body["status"]["token"])


async def test_plain_account_may_only_look_at_itself(api: Api) -> None:
    """Discovery and questions about itself; all else is 403 in Kubernetes' words."""
    token = await _account_token(api)
    itself = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

    discovery = (await api.call("GET", "/apis", token=token)).status
    review = (await api.call("POST", itself, {}, token=token)).body
    refused = await api.call("GET", f"{PODS}/p1", token=token)

    assert discovery == 200
    assert review["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"
    assert refused.status == 403
    assert refused.body["message"] == (
        'pods "p1" is forbidden: User "system:serviceaccount:default:default" cannot get resource'
        ' "pods" in API group "" in the namespace "default"'
    )


async def test_no_token_is_unauthorized(api: Api) -> None:
    """Without a good token nothing is said but that."""
    for token in ("", "nonsense", "ambi1.x.y"):
        refused = await api.call("GET", PODS, token=token)
        assert (refused.status, refused.body["message"]) == (401, "Unauthorized")


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/api/v1/pods", None, 200),
        ("GET", "/api/v1/namespaces/default/secrets/used", None, 200),
        ("GET", "/api/v1/namespaces/default/secrets/unused", None, 403),
        ("GET", "/api/v1/namespaces/default/secrets", None, 403),
        ("GET", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt", None, 200),
        ("PATCH", f"{PODS}/p1/status", {"status": {"phase": "Running"}}, 200),
        ("PATCH", f"{PODS}/p2/status", {"status": {"phase": "Running"}}, 403),
        ("PATCH", f"{PODS}/p1", {"metadata": {"annotations": {"a": "b"}}}, 200),
        ("DELETE", f"{PODS}/p2", None, 403),
        ("DELETE", f"{PODS}/p1", None, 200),
        ("POST", PODS, _pod("mine", nodeName="node-1"), 403),
        ("POST", "/api/v1/nodes", {"metadata": {"name": "node-1"}}, 201),
        ("POST", "/api/v1/nodes", {"metadata": {"name": "node-2"}}, 403),
        ("POST", f"{ACCOUNTS}/default/token", {"spec": {}}, 403),
        ("PUT", f"{ACCOUNTS}/default", {"metadata": {"name": "default"}}, 403),
        ("GET", "/apis/apps/v1/deployments", None, 403),
    ],
)
async def test_node_agent_may_what_concerns_its_node(
    api: Api, method: str, path: str, body: object, code: int
) -> None:
    """Its own node, the pods on it, and what they refer to; nothing else."""
    assert await _status(api, NODE, method, path, body) == code


@pytest.mark.parametrize(("pod", "code"), [("p1", 201), ("p2", 403)])
async def test_node_agent_gets_tokens_of_its_pods_only(api: Api, pod: str, code: int) -> None:
    """A bound token of a pod on another node would be that pod's identity."""
    reference = {"kind": "Pod", "apiVersion": "v1", "name": pod}
    body = {"spec": {"boundObjectRef": reference}}

    assert await _status(api, NODE, "POST", f"{ACCOUNTS}/default/token", body) == code


async def test_node_agent_creates_the_pod_of_its_proxy_and_no_other(api: Api) -> None:
    """Any other pod could carry any identity."""
    pods = "/api/v1/namespaces/istio-system/pods"
    spec = {"nodeName": "node-1", "serviceAccountName": "ztunnel"}

    other = await _status(api, NODE, "POST", pods, _pod("ztunnel-node-2", **spec))
    account = await _status(
        api, NODE, "POST", pods, _pod("ztunnel-node-1", **{**spec, "serviceAccountName": "istiod"})
    )
    own = await _status(api, NODE, "POST", pods, _pod("ztunnel-node-1", **spec))

    assert (other, account, own) == (403, 403, 201)


async def test_node_agent_has_its_lease_only(api: Api) -> None:
    """Leases of kube-node-lease are named after their node."""
    leases = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
    body = {"metadata": {"name": "node-1"}, "spec": {}}
    there = leases.format("kube-node-lease")

    own = await _status(api, NODE, "POST", there, body)
    other = await _status(api, NODE, "POST", there, {"metadata": {"name": "node-2"}})
    elsewhere = await _status(api, NODE, "POST", leases.format("default"), body)

    assert (own, other, elsewhere) == (201, 403, 403)


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/api/v1/pods", None, 200),
        ("GET", GATEWAYS, None, 200),
        ("GET", "/api/v1/namespaces/default/secrets", None, 403),
        ("GET", "/api/v1/namespaces/istio-system/secrets", None, 200),
        ("PATCH", f"{GATEWAYS}/g/status", {"status": {}}, 200),
        ("PATCH", f"{GATEWAYS}/g", {"spec": {}}, 403),
        ("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}}, 201),
        ("DELETE", f"{PODS}/p1", None, 403),
        ("POST", f"{ACCOUNTS}/default/token", {"spec": {}}, 403),
        ("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}}, 403),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "x"}}, 201),
    ],
)
async def test_control_plane_may_what_it_needs(
    api: Api, method: str, path: str, body: object, code: int
) -> None:
    """Everything is read but secrets; statuses and its own objects are written."""
    gateway = {"metadata": {"name": "g"}, "spec": {"gatewayClassName": "c", "listeners": []}}
    listener = {"name": "m", "port": 15008, "protocol": "HBONE"}
    gateway["spec"]["listeners"] = [listener]  # type: ignore[index] # a plain object
    await api.call("POST", GATEWAYS, gateway)

    assert await _status(api, CONTROL_PLANE, method, path, body) == code


async def test_administrator_acts_as_others(api: Api) -> None:
    """`kubectl --as` gets the other's rights, also those of a group."""
    robot = "system:serviceaccount:default:default"

    refused = await api.call("GET", PODS, impersonate_user=robot)
    as_master = await api.call(
        "GET", PODS, impersonate_user="x", impersonate_group="system:masters"
    )
    nobody = await api.call("GET", PODS, impersonate_group="system:masters")

    assert refused.status == 403
    assert robot in refused.body["message"]
    assert as_master.status == 200
    assert nobody.status == 400


async def test_acting_as_another_without_the_right_is_refused(api: Api) -> None:
    """Neither taken for the other nor for oneself."""
    token = api.token(CONTROL_PLANE)

    refused = await api.call("GET", PODS, token=token, impersonate_user="ambimesh:admin")

    assert refused.status == 403
    assert "cannot impersonate" in refused.body["message"]


async def test_access_reviews_tell_what_would_be(api: Api) -> None:
    """A review gives the verdict that a request would get, about others too."""
    subject = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    asked = {"verb": "delete", "resource": "pods", "namespace": "default", "name": "p1"}

    async def review(**spec: Any) -> Any:
        return (await api.call("POST", subject, {"spec": spec})).body["status"]["allowed"]

    assert await review(user="x", groups=["system:masters"], resourceAttributes=asked)
    assert not await review(user="x", resourceAttributes=asked)
    path = {"verb": "get", "path": "/api"}
    assert await review(user="x", nonResourceAttributes=path)
    refused = await api.call("POST", subject, {"spec": {"user": "x"}})
    assert refused.status == 400


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"imagePullSecrets": [{"name": "a"}]}, ("secrets", "a")),
        ({"volumes": [{"configMap": {"name": "a"}}]}, ("configmaps", "a")),
        ({"volumes": [{"projected": {"sources": [{"secret": {"name": "a"}}]}}]}, ("secrets", "a")),
        ({"containers": [{"envFrom": [{"configMapRef": {"name": "a"}}]}]}, ("configmaps", "a")),
        (
            {"initContainers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "a"}}}]}]},
            ("secrets", "a"),
        ),
    ],
)
def test_references_of_a_pod_are_found(spec: dict[str, Any], found: tuple[str, str]) -> None:
    """Volumes, projections, environments and pull secrets all count."""
    assert found in references({"spec": spec})


async def test_every_write_is_in_the_audit_log(api: Api, tmp_path: Path) -> None:
    """Who changed what with which outcome; reads are not written down."""
    await api.call("DELETE", f"{PODS}/absent", user_agent="me/1")
    await api.call("GET", PODS)

    lines = (tmp_path / "home/log/audit.log").read_text().splitlines()

    assert '"code":404' in lines[-1]
    assert '"user":"ambimesh:admin","verb":"delete"' in lines[-1]
    assert '"name":"absent"' in lines[-1]


def test_audit_log_survives_a_disk_that_does_not_take_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so once, and goes on when writing works again."""
    folder = tmp_path / "absent"
    log = AuditLog(folder / "audit.log", lambda: datetime(2026, 1, 1, tzinfo=UTC))

    log.record(verb="create")
    log.record(verb="create")
    folder.mkdir()
    log.record(verb="delete", name="")

    assert capsys.readouterr().err.count("No such file") == 1
    assert (folder / "audit.log").read_text() == (
        '{"time":"2026-01-01T00:00:00.000+00:00","verb":"delete"}\n'
    )


def test_audit_log_is_rotated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never takes more than twice its limit."""
    monkeypatch.setattr("ambimesh.local.apiserver.access.audit.ROTATE_BYTES", 100)
    log = AuditLog(tmp_path / "audit.log", lambda: datetime(2026, 1, 1, tzinfo=UTC))

    for number in range(10):
        log.record(number=number)

    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) <= 2
    assert sum(sizes) < 300
