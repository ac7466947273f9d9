"""Names and service addresses: what is allowed, what is given."""

import ipaddress
from typing import Any

import pytest

from ambimesh.local.apiserver.builtin import CONFIG_MAPS, NAMESPACES, SERVICES
from ambimesh.local.apiserver.objects.names import generate, require_valid
from ambimesh.local.apiserver.objects.service_address import RANGES, ServiceAddresses
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import Key
from ambimesh.local.apiserver.types.kinds import Kind


def test_generated_names_keep_the_prefix_and_stay_short() -> None:
    """Five characters are added; a long prefix gives way."""
    name = generate("web-")
    long = generate("x" * 100)

    assert name.startswith("web-")
    assert len(name) == 9
    assert len(long) == 63


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (CONFIG_MAPS, "Upper"),
        (CONFIG_MAPS, "a_b"),
        (CONFIG_MAPS, "x" * 254),
        (NAMESPACES, "a.b"),
        (NAMESPACES, "x" * 64),
        (SERVICES, "1a"),
    ],
)
def test_wrong_name_is_refused_by_its_field(kind: Kind, name: str) -> None:
    """The complaint is about metadata.name, with the rule."""
    with pytest.raises(StatusError) as refused:
        require_valid(kind, name)

    assert refused.value.code == 422
    assert refused.value.details
    assert refused.value.details["causes"][0]["field"] == "metadata.name"


@pytest.mark.parametrize(
    ("kind", "name"), [(CONFIG_MAPS, "kube-root-ca.crt"), (NAMESPACES, "1a"), (SERVICES, "a1")]
)
def test_right_name_is_taken(kind: Kind, name: str) -> None:
    """Each kind has its own rule."""
    require_valid(kind, name)


class _Services:
    """Services as the registry has them."""

    def __init__(self) -> None:
        self.objects: dict[Key, dict[str, Any]] = {}
        self.addresses = ServiceAddresses(self.objects.get)

    def add(self, service: str, **spec: Any) -> dict[str, Any]:
        obj = {"metadata": {"name": service, "namespace": "n"}, "spec": spec}
        self.addresses.assign(SERVICES, obj)
        self.objects[Key("n", service)] = obj
        return spec


def test_service_gets_one_address_of_each_family_with_the_same_offset() -> None:
    """Who wants both families gets two addresses that look alike."""
    spec = _Services().add("a", ipFamilyPolicy="PreferDualStack")

    offsets = [
        int(ipaddress.ip_address(address)) - int(RANGES[family].network_address)
        for family, address in zip(spec["ipFamilies"], spec["clusterIPs"], strict=True)
    ]
    assert spec["ipFamilies"] == ["IPv4", "IPv6"]
    assert spec["clusterIP"] == spec["clusterIPs"][0]
    assert offsets[0] == offsets[1] >= 256


def test_addresses_are_not_given_twice() -> None:
    """A thousand services have a thousand addresses, and one address comes back only late."""
    services = _Services()
    given = [services.add(f"s{number}")["clusterIP"] for number in range(1000)]
    del services.objects[Key("n", "s0")]

    again = services.add("again")["clusterIP"]

    assert len(set(given)) == 1000
    assert again not in given


@pytest.mark.parametrize(
    ("spec", "families", "addresses"),
    [
        ({"ipFamilyPolicy": "SingleStack"}, ["IPv4"], 1),
        ({"ipFamilies": ["IPv6"]}, ["IPv6"], 1),
        ({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "RequireDualStack"}, ["IPv6", "IPv4"], 2),
        ({"clusterIP": "None"}, ["IPv4"], 1),
        ({}, ["IPv4"], 1),
    ],
)
def test_families_follow_what_is_asked(
    spec: dict[str, Any], families: list[str], addresses: int
) -> None:
    """Policy, families and headless services."""
    found = _Services().add("a", **spec)

    assert found["ipFamilies"] == families
    assert len(found["clusterIPs"]) == addresses


def test_external_name_has_no_address() -> None:
    """A name elsewhere needs none here."""
    spec = _Services().add("a", type="ExternalName", externalName="x")

    assert "clusterIP" not in spec


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.0.0.1", "not in the valid range"),
        ("nonsense", "not in the valid range"),
        ("198.19.0.1", "already allocated"),
        ("198.19.7.7", "already allocated"),
    ],
)
def test_chosen_address_must_be_free_and_ours(address: str, words: str) -> None:
    """Who chooses an address hears why it cannot be had."""
    services = _Services()
    services.add("holder", clusterIP="198.19.7.7")

    with pytest.raises(StatusError, match=words):
        services.add("a", clusterIP=address)


def test_address_of_a_service_that_was_undone_is_free() -> None:
    """The book forgets holders that are not there: a refused write leaks nothing."""
    services = _Services()
    services.add("lost", clusterIP="198.19.7.7")
    services.objects.clear()

    assert services.add("a", clusterIP="198.19.7.7")["clusterIP"] == "198.19.7.7"
