"""SPIFFE identities."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.model.identity import Identity, TrustDomain

PARTS = st.text("abz09.-", min_size=1, max_size=20)


@given(PARTS, PARTS, PARTS)
def test_identity_reads_back_what_it_writes(domain: str, namespace: str, account: str) -> None:
    """Writing and reading are inverse."""
    identity = Identity(
        trust_domain=TrustDomain(domain), namespace=namespace, service_account=account
    )

    assert Identity.parse(str(identity)) == identity


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cluster.local/ns/a/sa/b",
        "https://cluster.local/ns/a/sa/b",
        "spiffe:///ns/a/sa/b",
        "spiffe://cluster.local/ns//sa/b",
        "spiffe://cluster.local/ns/a/sa/b/",
        "spiffe://cluster.local/ns/a/sa/b/c",
        "spiffe://cluster.local/sa/b/ns/a",
        "spiffe://cluster.local/ns/a/sa/b\n",
        "spiffe://Cluster.Local/ns/a/sa/b",
        "spiffe://cluster.local/ns/a/sa/" + "b" * 2048,
    ],
)
def test_other_texts_are_no_identity(text: str) -> None:
    """Nothing is guessed or cut off."""
    with pytest.raises(ValueError, match="is not spiffe"):
        Identity.parse(text)
