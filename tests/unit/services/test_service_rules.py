"""Rules behind service addresses: approved texts, and changes on a model of nft's tables."""

import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.services.backends import Backend, Backends, Frontend
from ambimesh.local.services.service_addresses import transactions
from ambimesh.local.services.service_rules import PART, base_ruleset, chain_name, changes

APPROVED = Path(__file__).parent / "rulesets"


@dataclass
class TableModel:
    """What our table has, as far as changes touch it; refuses what the kernel refuses."""

    chains: dict[str, str] = field(default_factory=dict)  # the rule of each chain
    targets: dict[str, str] = field(default_factory=dict)  # key of the verdict map -> chain
    selves: set[str] = field(default_factory=set)

    def apply(self, transaction: str) -> None:
        """Apply one transaction, line by line."""
        for line in transaction.splitlines():
            verb, what, _, _, name, *_ = line.split()
            rest = line.split(name, 1)[1].strip()
            getattr(self, f"_{verb}_{what}")(name, rest)

    def _add_chain(self, name: str, _rest: str) -> None:
        self.chains.setdefault(name, "")

    def _flush_chain(self, name: str, _rest: str) -> None:
        self.chains[name] = ""

    def _add_rule(self, name: str, rest: str) -> None:
        assert self.chains[name] == ""
        self.chains[name] = rest

    def _delete_chain(self, name: str, _rest: str) -> None:
        assert name not in self.targets.values()
        del self.chains[name]

    def _add_element(self, name: str, rest: str) -> None:
        if name.startswith("self"):
            assert rest not in self.selves
            self.selves.add(rest)
            return
        key, chain = re.fullmatch(r"\{ (.*) : goto (.*) \}", rest).groups()  # type: ignore[union-attr] # fails the test
        assert chain in self.chains
        assert key not in self.targets
        self.targets[key] = chain

    def _delete_element(self, name: str, rest: str) -> None:
        if name.startswith("self"):
            self.selves.remove(rest)
            return
        del self.targets[re.fullmatch(r"\{ (.*) : goto .* \}", rest).group(1)]  # type: ignore[union-attr] # fails the test


def model(backends: Backends) -> TableModel:
    """Program from nothing."""
    made = TableModel()
    for transaction in changes({}, backends):
        made.apply(transaction)
    return made


ports = st.integers(1, 65535)
v4, v6 = st.ip_addresses(v=4, network="10.0.0.0/28"), st.ip_addresses(v=6, network="fd98::/124")


def of_family(
    addresses: st.SearchStrategy[object],
) -> st.SearchStrategy[dict[Frontend, tuple[Backend, ...]]]:
    """Make backends of one family."""
    frontend = st.builds(
        Frontend,
        address=addresses,
        protocol=st.sampled_from(["tcp", "udp"]),
        port=st.integers(1, 4),
    )
    backend = st.builds(Backend, address=addresses, port=ports)
    return st.dictionaries(frontend, st.lists(backend, max_size=3).map(tuple), max_size=8)


many = st.builds(lambda a, b: {**a, **b}, of_family(v4), of_family(v6))


@given(many, many)
def test_changes_lead_from_any_state_to_any_other(before: Backends, after: Backends) -> None:
    """Applied to what ``before`` made, changes give exactly what ``after`` makes."""
    table = model(before)

    for transaction in changes(before, after):
        table.apply(transaction)

    assert table == model(after)
    assert set(table.chains) == {chain_name(frontend) for frontend in after}


@given(many)
def test_equal_states_need_no_change(backends: Backends) -> None:
    """Nothing is loaded for nothing."""
    assert list(changes(backends, backends)) == []


def frontend(text: str, port: int) -> Frontend:
    """Make a TCP frontend."""
    return Frontend(address=ip_address(text), protocol="tcp", port=port)


def test_parts_are_bounded() -> None:
    """A transaction has at most so many services, so that it fits a socket buffer."""
    backends = {
        frontend("198.19.0.1", port): (Backend(address=ip_address("10.0.0.1"), port=1),)
        for port in range(1, 251)
    }
    parts = list(changes({}, backends))

    assert [part.count("add rule") for part in parts] == [PART, PART, 50]


def test_first_transaction_replaces_an_unknown_table_and_fills_it() -> None:
    """A new agent leaves no moment in which every service is refused."""
    backends = {frontend("198.19.0.1", 80): ()}

    (only,) = transactions(None, backends)

    assert only.startswith("table inet ambimesh-services\ndelete table")
    assert only.endswith(next(changes({}, backends)))
    assert list(transactions(backends, backends)) == []
    assert len(list(transactions(None, {}))) == 1


def test_base_ruleset_is_the_approved_one() -> None:
    """Ranges that no service has are refused, in the chains that hear of it at once."""
    text = base_ruleset([ip_network("198.19.0.0/16"), ip_network("fd98::/112")])
    assert text == (APPROVED / "base.nft").read_text()


def test_changes_are_the_approved_ones() -> None:
    """One service changed, one came, one went."""
    one, two, three = (
        frontend("198.19.0.1", 80),
        frontend("fd98::2", 80),
        frontend("198.19.0.3", 53),
    )
    ten, eleven = (Backend(address=ip_address(f"10.0.0.{n}"), port=8080) for n in (10, 11))
    six = Backend(address=ip_address("fd98::a"), port=8080)

    parts = list(changes({one: (ten,), three: (ten,)}, {one: (ten, eleven), two: (six,)}))

    assert parts == [(APPROVED / "changes.nft").read_text()]
