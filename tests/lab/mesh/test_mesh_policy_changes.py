"""Changes of policy: in force on new and live connections within a second, and explained."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from support.policy_sets import SECURITY
from support.running_mesh import (
    CAPTURE_LABEL,
    Program,
    RunningMesh,
    case_command,
    manifest,
    peer,
)

pytestmark = pytest.mark.lab

IN_FORCE_SECONDS = 1.0


@pytest.fixture(scope="module")
def place(mesh: RunningMesh, make_namespace: Callable[[], str]) -> Iterator[str]:
    """A captured server on node-1; on node-2 a captured client and a plaintext one."""
    name = make_namespace()
    plain = Program(name="plain", node="node-2", labels={CAPTURE_LABEL: "none"})
    mesh.run_pods(name, peer("server", node="node-1"), Program(name="client", node="node-2"), plain)
    mesh.capture(name, "server", "client")
    mesh.until_tunnelled(name, "client", mesh.address(name, "server"), node="node-1")
    yield name
    mesh.kubectl("delete", "namespace", name, "--wait=false")


def _authorization(namespace: str, action: str, source: dict[str, Any]) -> dict[str, Any]:
    spec = {"action": action, "rules": [{"from": [{"source": source}]}]}
    return manifest(SECURITY, "AuthorizationPolicy", namespace, "change", {"spec": spec})


def _strict(namespace: str) -> dict[str, Any]:
    body = {"spec": {"mtls": {"mode": "STRICT"}}}
    return manifest(SECURITY, "PeerAuthentication", namespace, "change", body)


CHANGES = [
    pytest.param(
        "client", lambda ns: _authorization(
            ns, "DENY", {"principals": [f"cluster.local/ns/{ns}/sa/client"]}),
        "explicitly denied by", id="deny-principal",
    ),
    pytest.param(
        "client", lambda ns: _authorization(ns, "ALLOW", {"namespaces": ["elsewhere"]}),
        "allow policies exist, but none allowed", id="allow-others",
    ),
    pytest.param(
        "plain", lambda ns: _authorization(ns, "ALLOW", {"principals": ["*"]}),
        "allow policies exist, but none allowed", id="allow-identities",
    ),
    pytest.param("plain", _strict, "denied by: istio-system/istio_converted_static_strict", id="strict"),
]  # fmt: skip


@pytest.mark.parametrize(("client", "policy", "reason"), CHANGES)
def test_change_is_in_force_within_a_second(
    mesh: RunningMesh, place: str, client: str, policy: Callable[[str], Any], reason: str
) -> None:
    """Issue 3, 5: a live connection ends, new ones are refused, and both come back allowed."""
    logged = len(mesh.access_log("node-1"))
    with _watched(mesh, place, client) as watch:
        watch.wait(lambda seen: seen == {"live": True, "new": True})
        mesh.apply(policy(place))
        denied_after = time.time()
        denied = watch.wait(lambda seen: not any(seen.values()))
        mesh.kubectl("delete", policy(place)["kind"].lower(), "change", "-n", place)
        allowed_after = time.time()
        allowed = watch.wait(lambda seen: all(seen.values()))

    assert denied - denied_after < IN_FORCE_SECONDS
    assert allowed - allowed_after < IN_FORCE_SECONDS
    lines = mesh.access_log("node-1")[logged:]
    mine = [line for line in lines if f'src.workload="{client}"' in line]
    assert [line for line in mine if 'reason="policy_denied"' in line and reason in line]
    assert [line for line in mine if 'reason="policy_changed"' in line]


def test_plaintext_client_has_no_identity(mesh: RunningMesh, place: str) -> None:
    """Design §3.9: who comes in plaintext is nobody, whatever its address is known for."""
    before = len(mesh.access_log("node-1"))

    mesh.case(place, "plain", "echo", mesh.address(place, "server"))

    lines = mesh.until(lambda: mesh.access_log("node-1")[before:])
    assert 'dst.workload="server"' in lines[0]
    assert "src.identity" not in lines[0]


@dataclass(slots=True)
class _Watch:
    """The changes that a client tells, line by line."""

    lines: Iterator[str]
    seen: dict[str, bool]

    def wait(self, holds: Callable[[dict[str, bool]], bool]) -> float:
        """Read changes until ``holds``; give the time of the last one. The test has a timeout."""
        while True:
            change = json.loads(next(self.lines))
            self.seen[change["what"]] = change["is"]
            if len(self.seen) == 2 and holds(self.seen):
                return float(change["at"])


@contextmanager
def _watched(mesh: RunningMesh, namespace: str, client: str) -> Iterator[_Watch]:
    flag = mesh.home.root / f"watched-{time.monotonic_ns()}"
    command = case_command("watch", mesh.address(namespace, "server"), str(flag))
    with mesh.background(namespace, client, *command) as process:
        assert process.stdout is not None
        try:
            yield _Watch(lines=iter(process.stdout), seen={})
        finally:
            flag.touch()
            process.communicate(timeout=20)
