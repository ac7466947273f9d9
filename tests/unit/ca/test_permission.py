"""Who may have a certificate for whom."""

from dataclasses import replace

import pytest

from ambimesh.ca.permission import NodeAuthorizer, NotPermittedError
from ambimesh.kube.objects import Metadata, Pod, PodSpec, PodStatus
from ambimesh.kube.tokens import TokenIdentity
from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN, Identity

CALLER = TokenIdentity(
    namespace="istio-system",
    service_account="ztunnel",
    pod_name="ztunnel-node-1",
    pod_uid="u1",
)
WEB = "spiffe://cluster.local/ns/shop/sa/web"


def pod(
    name: str, namespace: str, account: str, *, node: str = "node-1", phase: str = "Pending"
) -> Pod:
    """Make a pod."""
    return Pod(
        metadata=Metadata(name=name, namespace=namespace, uid="u1"),
        spec=PodSpec(node_name=node, service_account_name=account),
        status=PodStatus(phase=phase),
    )


def authorizer(*pods: Pod) -> NodeAuthorizer:
    """Make an authorizer that knows the node proxy's pod and ``pods``."""
    known = (pod("ztunnel-node-1", "istio-system", "ztunnel"), *pods)
    return NodeAuthorizer(
        trust_domain=DEFAULT_TRUST_DOMAIN,
        trusted_accounts=frozenset({("istio-system", "ztunnel")}),
        pod=lambda namespace, name: next((p for p in known if p.key == (namespace, name)), None),
        pods_on=lambda node, namespace, account: [
            p
            for p in known
            if (p.spec.node_name, p.metadata.namespace, p.spec.service_account_name)
            == (node, namespace, account)
        ],
    )


def test_node_proxy_gets_the_identity_of_a_pod_on_its_node_before_it_runs() -> None:
    """A scheduled pod is enough, so that its certificate can be there first."""
    assert authorizer(pod("web", "shop", "web")).permitted(CALLER, WEB) == Identity(
        namespace="shop", service_account="web"
    )


def test_caller_without_a_wish_gets_its_own_identity() -> None:
    """A workload that asks for itself needs no trust."""
    caller = TokenIdentity(namespace="shop", service_account="web")

    assert str(authorizer().permitted(caller, "")) == WEB


@pytest.mark.parametrize(
    ("caller", "wanted", "others"),
    [
        (CALLER, WEB, ()),
        (CALLER, WEB, (pod("web", "shop", "web", node="node-2"),)),
        (CALLER, WEB, (pod("web", "shop", "web", phase="Failed"),)),
        (CALLER, WEB, (pod("web", "shop", "web", phase="Succeeded"),)),
        (CALLER, WEB, (pod("web", "other", "web"),)),
        (CALLER, "spiffe://other/ns/shop/sa/web", (pod("web", "shop", "web"),)),
        (CALLER, "spiffe://cluster.local/ns/shop/sa/web/x", (pod("web", "shop", "web"),)),
        (CALLER, "web", (pod("web", "shop", "web"),)),
        (replace(CALLER, pod_uid="an older pod's"), WEB, (pod("web", "shop", "web"),)),
        (replace(CALLER, pod_uid=None), WEB, (pod("web", "shop", "web"),)),
        (replace(CALLER, pod_name="gone"), WEB, (pod("web", "shop", "web"),)),
        (replace(CALLER, service_account="default"), WEB, (pod("web", "shop", "web"),)),
        (replace(CALLER, namespace="shop"), WEB, (pod("web", "shop", "web"),)),
    ],
    ids=[
        "no such pod",
        "other node",
        "failed",
        "ended",
        "other namespace",
        "other trust domain",
        "longer path",
        "no SPIFFE ID",
        "replaced pod",
        "unbound token",
        "unknown pod",
        "untrusted account",
        "untrusted namespace",
    ],
)
def test_everything_else_is_refused(
    caller: TokenIdentity, wanted: str, others: tuple[Pod, ...]
) -> None:
    """An identity is given out only for a pod that is on the caller's own node."""
    with pytest.raises(NotPermittedError):
        authorizer(*others).permitted(caller, wanted)
