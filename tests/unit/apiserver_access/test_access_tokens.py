"""Who a token stands for: components, service accounts, and objects that must still exist."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey

from ambimesh.local.apiserver.access.components import (
    ADMIN,
    CONTROL_PLANE,
    token_for,
    token_for_node,
    user_of,
)
from ambimesh.local.apiserver.access.tokens import (
    Grant,
    ServiceAccountTokens,
    TokenError,
)
from ambimesh.local.apiserver.store.entry import Key
from support.apiserver_core import Api, running_api

KEY = b"k" * 32
ROBOT = {"metadata": {"name": "robot", "namespace": "n", "uid": "account-uid"}}
POD = {"metadata": {"name": "p", "namespace": "n", "uid": "pod-uid"}}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server of this test alone."""
    async with running_api(tmp_path) as running:
        yield running


def test_component_tokens_stand_for_their_user() -> None:
    """The name and its groups follow from the token alone."""
    node = user_of(KEY, token_for_node(KEY, "node-1"))
    admin = user_of(KEY, token_for(KEY, ADMIN))
    plane = user_of(KEY, token_for(KEY, CONTROL_PLANE))

    assert node
    assert (node.name, node.node) == ("system:node:node-1", "node-1")
    assert admin
    assert "system:masters" in admin.groups
    assert plane
    assert plane.groups[1] == "system:serviceaccounts:istio-system"


@pytest.mark.parametrize(
    "token",
    [
        token_for(b"x" * 32, ADMIN),
        token_for(KEY, ADMIN)[:-1],
        token_for(KEY, "somebody"),
        token_for(KEY, "system:node:../x"),
        token_for(KEY, ADMIN).replace("ambi1.", "ambi2."),
    ],
)
def test_forged_or_unknown_component_is_nobody(token: str) -> None:
    """Another key, a changed byte, a name that we never gave."""
    assert user_of(KEY, token) is None


@given(st.text())
def test_any_text_is_no_component(text: str) -> None:
    """Garbage never raises and never is somebody."""
    assert user_of(KEY, text) is None
    assert user_of(KEY, f"ambi1.{text}") is None


class _World:
    """The objects that tokens are bound to, and a clock."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.objects: dict[tuple[str, Key], Any] = {
            ("serviceaccounts", Key("n", "robot")): ROBOT,
            ("pods", Key("n", "p")): POD,
        }
        key = ECKey.generate_key("P-256")
        self.key = key
        self.tokens = ServiceAccountTokens(
            key, lambda resource, name: self.objects.get((resource, name)), lambda: self.now
        )

    def issue(self, **more: Any) -> str:
        grant = Grant(account=ROBOT, audiences=("api", "other"), seconds=600, **more)
        return self.tokens.issue(grant)[0]


def test_account_token_tells_who_and_for_whom() -> None:
    """Name, uid, groups, the bound pod, and the audiences that were asked about."""
    world = _World()

    verified = world.tokens.verify(world.issue(pod=POD), ["api", "x"])

    assert verified.audiences == ("api",)
    assert verified.user.name == "system:serviceaccount:n:robot"
    assert verified.user.groups == (
        "system:serviceaccounts", "system:serviceaccounts:n", "system:authenticated",
    )  # fmt: skip
    assert verified.user.extra["authentication.kubernetes.io/pod-name"] == ("p",)


def test_account_token_ends_with_its_time() -> None:
    """A second too late is too late, also for a token that was seen before."""
    world = _World()
    token = world.issue()
    world.tokens.verify(token, ["api"])
    world.now += 600

    with pytest.raises(TokenError, match="expired"):
        world.tokens.verify(token, ["api"])


@pytest.mark.parametrize("resource", ["serviceaccounts", "pods"])
def test_account_token_ends_with_its_objects(resource: str) -> None:
    """Gone, or another of the same name: false at once."""
    world = _World()
    token = world.issue(pod=POD)
    world.tokens.verify(token, ["api"])
    key = next(key for key in world.objects if key[0] == resource)
    world.objects[key] = {"metadata": {"uid": "another"}}

    with pytest.raises(TokenError, match="which is gone"):
        world.tokens.verify(token, ["api"])


@pytest.mark.parametrize("audiences", [[], ["x"]])
def test_account_token_is_for_its_audience_only(audiences: list[str]) -> None:
    """A token for somebody else is worth nothing here."""
    world = _World()

    with pytest.raises(TokenError, match="audiences"):
        world.tokens.verify(world.issue(), audiences)


def test_forged_account_tokens_are_refused() -> None:
    """Another key, no signature, another issuer, nonsense."""
    world = _World()
    other = _World()
    foreign = jwt.encode({"alg": "ES256"}, {"iss": "x", "kubernetes.io": {}}, world.key)
    for token in (other.issue(), foreign, "a.b.c", "", world.issue()[:-4] + "AAAA"):
        with pytest.raises(TokenError):
            world.tokens.verify(token, ["api"])


async def test_token_request_and_review_agree(api: Api) -> None:
    """What TokenRequest gives, TokenReview knows, for the audience it was given for."""
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    body = {"spec": {"audiences": ["istio-ca"], "expirationSeconds": 600}}
    issued = await api.call("POST", path, body)
    token = issued.body["status"]["token"]
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"

    async def review(*audiences: str) -> Any:
        spec = {"token": token, "audiences": list(audiences)}
        return (await api.call("POST", reviews, {"spec": spec})).body["status"]

    good, elsewhere = await review("istio-ca"), await review()

    assert issued.status == 201
    assert good["authenticated"]
    assert good["audiences"] == ["istio-ca"]
    assert good["user"]["username"] == "system:serviceaccount:default:default"
    assert not elsewhere["authenticated"]
    assert (await api.call("GET", "/api", token=token)).status == 401  # not for this API


@pytest.mark.parametrize(
    ("spec", "code"),
    [
        ({"expirationSeconds": 60}, 422),
        ({"boundObjectRef": {"kind": "Secret", "apiVersion": "v1", "name": "x"}}, 422),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "absent"}}, 404),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "x"}}, 409),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "q"}}, 400),
        ({"audiences": "x"}, 400),
        ({"boundObjectRef": "x"}, 400),
    ],
)
async def test_token_request_refuses_what_cannot_be(
    api: Api, spec: dict[str, Any], code: int
) -> None:
    """Too short, bound to the wrong thing, to nothing, or to a pod of another account."""
    container = [{"name": "c", "image": "x"}]
    pods = "/api/v1/namespaces/default/pods"
    await api.call(
        "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "o"}}
    )
    await api.call("POST", pods, {"metadata": {"name": "p"}, "spec": {"containers": container}})
    other = {"containers": container, "serviceAccountName": "o"}
    await api.call("POST", pods, {"metadata": {"name": "q"}, "spec": other})

    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    refused = await api.call("POST", path, {"spec": spec})

    assert refused.status == code, refused.data


async def test_token_of_a_deleted_pod_is_false_at_once(api: Api) -> None:
    """A bound token dies with its pod."""
    container = [{"name": "c", "image": "x"}]
    pods = "/api/v1/namespaces/default/pods"
    await api.call("POST", pods, {"metadata": {"name": "p"}, "spec": {"containers": container}})
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    issued = await api.call("POST", path, {"spec": {"boundObjectRef": reference}})
    token = issued.body["status"]["token"]
    before = (await api.call("GET", "/api", token=token)).status

    await api.call("DELETE", f"{pods}/p")

    assert (before, (await api.call("GET", "/api", token=token)).status) == (200, 401)


async def test_public_keys_check_our_tokens(api: Api) -> None:
    """Anyone can verify a token with what the server publishes."""
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    token = (await api.call("POST", path, {"spec": {}})).body["status"]["token"]
    published = (await api.call("GET", "/openid/v1/jwks")).body["keys"][0]

    claims = jwt.decode(token, ECKey.import_key(published), algorithms=["ES256"]).claims

    assert claims["sub"] == "system:serviceaccount:default:default"
    assert "d" not in published
