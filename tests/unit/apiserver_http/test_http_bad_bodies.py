"""Bodies that are wrong in any way: an answer that says so, and never a fault of ours."""

import asyncio
import copy
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from support.apiserver_core import Api, running_api

CORE = "/api/v1/namespaces/default"
_CONTAINER = {"name": "c", "image": "x", "ports": [{"name": "http", "containerPort": 80}]}
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [_CONTAINER]}}
MANIFESTS: dict[str, dict[str, Any]] = {
    f"{CORE}/pods": {"metadata": {"name": "x"}, "spec": {"containers": [_CONTAINER]}},
    f"{CORE}/services": {
        "metadata": {"name": "x", "labels": {"a": "b"}},
        "spec": {
            "selector": {"a": "b"},
            "ports": [{"name": "http", "port": 80, "targetPort": "w"}],
        },
    },
    f"{CORE}/configmaps": {"metadata": {"name": "x", "ownerReferences": []}, "data": {"a": "b"}},
    f"{CORE}/secrets": {"metadata": {"name": "x"}, "stringData": {"a": "b"}, "data": {"c": "ZA=="}},
    "/apis/apps/v1/namespaces/default/deployments": {
        "metadata": {"name": "x"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"a": "b"}},
            "template": _TEMPLATE,
            "strategy": {"rollingUpdate": {"maxSurge": "25%"}},
        },
    },
    "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices": {
        "metadata": {"name": "x"},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["198.18.1.1"], "conditions": {"ready": True}}],
        "ports": [{"name": "p", "port": 1}],
    },
    "/apis/security.istio.io/v1/namespaces/default/authorizationpolicies": {
        "metadata": {"name": "x"},
        "spec": {"action": "DENY", "rules": [{"from": [{"source": {"principals": ["*"]}}]}]},
    },
    f"{CORE}/events": {
        "metadata": {"name": "x"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "lastTimestamp": "2026-01-01T00:00:00Z",
    },
    f"{CORE}/serviceaccounts/default/token": {
        "spec": {"audiences": ["a"], "expirationSeconds": 600, "boundObjectRef": {"kind": "Pod"}}
    },
    "/apis/authorization.k8s.io/v1/subjectaccessreviews": {
        "spec": {"user": "u", "groups": ["g"], "resourceAttributes": {"verb": "get"}}
    },
    "/apis/authentication.k8s.io/v1/tokenreviews": {"spec": {"token": "t", "audiences": ["a"]}},
}
PATCHES = (
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
)

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=4)
    | st.sampled_from(["", "0", "-1", "None", "2026-01-01T00:00:00Z", "9" * 30]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@st.composite
def _damaged(draw: st.DrawFn) -> tuple[str, Any]:
    """A good manifest with one or two places replaced, removed or added to."""
    path = draw(st.sampled_from(sorted(MANIFESTS)))
    manifest: Any = copy.deepcopy(MANIFESTS[path])
    for _ in range(draw(st.integers(1, 2))):
        here: Any = manifest
        while isinstance(here, dict | list) and here:
            place = draw(
                st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here)))
            )
            if draw(st.booleans()) or not isinstance(here[place], dict | list):
                here[place] = draw(_JSON)
                break
            here = here[place]
    return path, manifest


@settings(max_examples=40, deadline=None)
@given(st.lists(_damaged(), min_size=5, max_size=15), st.sampled_from(PATCHES))
def test_no_body_makes_the_server_fail(bodies: list[tuple[str, Any]], patch: str) -> None:
    """Created, replaced, patched, applied: any answer but 500, and lists work afterwards."""
    said = StringIO()
    with redirect_stderr(said):
        asyncio.run(_send_all(bodies, patch))

    assert "Traceback" not in said.getvalue()  # controllers have seen it all, too


async def _send_all(bodies: list[tuple[str, Any]], patch: str) -> None:
    with TemporaryDirectory() as folder:
        async with running_api(Path(folder)) as api:
            for path, body in bodies:
                await _send(api, path, body, patch)
            for path in MANIFESTS:
                if path.startswith(("/apis/auth", f"{CORE}/serviceaccounts")):
                    continue
                table = "application/json;as=Table;v=v1;g=meta.k8s.io"
                assert (await api.call("GET", path, accept=table)).status == 200


async def _send(api: Api, path: str, body: Any, patch: str) -> None:
    one = f"{path}/x"
    await api.call("POST", path, MANIFESTS[path])
    for method, where, content_type in (
        ("POST", path, "application/json"),
        ("PUT", one, "application/json"),
        ("PATCH", f"{one}?fieldManager=m&force=true", patch),
        ("DELETE", one, "application/json"),
    ):
        answer = await api.call(method, where, body, content_type=content_type)
        assert answer.status != 500, (method, path, body, answer.data)
