"""The rulesets of captured pods: approved texts, and what must hold of any."""

from ipaddress import ip_address
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ambimesh.node.ruleset import Opening, capture_ruleset, drain_ruleset, removal

APPROVED = Path(__file__).parent / "rulesets"
OPENINGS = (
    Opening(
        client=ip_address("198.18.1.10"), client_port=40000,
        server=ip_address("198.18.2.10"), server_port=80,
    ),
    Opening(
        client=ip_address("fd98::1"), client_port=40001,
        server=ip_address("fd98::2"), server_port=8080,
    ),
)  # fmt: skip


def test_capture_ruleset_is_the_approved_one() -> None:
    """Two openings are exempt, each in the set of its family."""
    assert capture_ruleset(OPENINGS) == (APPROVED / "capture.nft").read_text()


def test_drain_ruleset_is_the_approved_one() -> None:
    """Nothing redirects; one rule with conntrack and two chains of nat stay."""
    assert drain_ruleset() == (APPROVED / "drain.nft").read_text()


def test_drain_keeps_translation_and_tracking_and_redirects_nothing() -> None:
    """Without a nat chain or a conntrack rule every carried connection is reset."""
    text = drain_ruleset()

    assert "redirect" not in text
    assert text.count("type nat hook") == 2
    assert "ct mark set" in text


def test_removal_works_whether_the_table_stands_or_not() -> None:
    """Created first, so that deleting it is no error."""
    assert removal().splitlines() == ["table inet ambimesh", "delete table inet ambimesh"]


ports = st.integers(0, 65535)
openings = st.one_of(
    st.builds(
        Opening, client=st.ip_addresses(v=4), client_port=ports, server=st.ip_addresses(v=4),
        server_port=ports,
    ),
    st.builds(
        Opening, client=st.ip_addresses(v=6), client_port=ports, server=st.ip_addresses(v=6),
        server_port=ports,
    ),
)  # fmt: skip


@given(st.lists(openings, max_size=5))
def test_every_opening_is_an_element_and_only_syns_are_redirected(found: list[Opening]) -> None:
    """Whatever is opening is named, and both ways into a redirect ask for a bare SYN."""
    text = capture_ruleset(found)

    assert all(opening.element in text for opening in found)
    assert text.count("tcp flags & (fin | syn | rst | ack) == syn jump") == 2
    assert text.count("redirect to") == 2
    assert text.count("ct state invalid") == 0
