"""Cluster addresses of Services: one of each family, from documented ranges.

The two addresses of a Service have the same offset in their ranges, so that a person who sees
one of them knows the other: 198.19.1.7 and fd98:616d:6269:ffff::107.
"""

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ambimesh.local.apiserver.status import StatusError, invalid_field
from ambimesh.local.apiserver.store.entry import JsonObject, Key
from ambimesh.local.apiserver.types.kinds import Kind

RANGES = {
    "IPv4": ipaddress.ip_network("198.19.0.0/16"),
    "IPv6": ipaddress.ip_network("fd98:616d:6269:ffff::/112"),
}
API_SERVICE = Key("default", "kubernetes")
API_OFFSET = 1  # of the Service `kubernetes`; nobody else gets it

# The first band is left to those who choose an address themselves, as Kubernetes does.
_FIRST_OFFSET = 256
_AFTER_LAST_OFFSET = 65535


class ServiceAddresses:
    """Which addresses are taken, and by whom.

    ``present`` gives the latest state of a Service. The book may be wrong after a change was
    undone: an address counts as taken only if its holder still has it.
    """

    def __init__(self, present: Callable[[Key], JsonObject | None]) -> None:
        self._present = present
        self._holders: dict[str, Key] = {}
        self._next = _FIRST_OFFSET

    def note(self, key: Key, addresses: list[str]) -> None:
        """Record that a Service has these addresses."""
        for address in addresses:
            if address in ("", "None"):
                continue
            self._holders[address] = key
            offset = _offset(address)
            if offset is not None and offset >= self._next:
                self._next = offset + 1

    def assign(self, kind: Kind, obj: JsonObject) -> None:
        """Give a new Service its addresses and families, keeping those it asks for.

        Errors: StatusError 422 for an address that is taken or outside the ranges.
        """
        spec = obj["spec"]
        key = Key(obj["metadata"]["namespace"], obj["metadata"]["name"])
        if spec.get("type") == "ExternalName":
            return
        wanted = list(
            spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
        )
        families = self._families(spec, wanted)
        spec["ipFamilies"] = families
        spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or (
            "PreferDualStack" if len(families) == 2 else "SingleStack"
        )
        if wanted[:1] == ["None"]:
            spec["clusterIP"], spec["clusterIPs"] = "None", ["None"]
            return
        addresses = self._choose(kind, key, wanted, families)
        spec["clusterIP"], spec["clusterIPs"] = addresses[0], addresses
        self.note(key, addresses)

    def _families(self, spec: dict[str, Any], wanted: list[str]) -> list[str]:
        families = list(spec.get("ipFamilies") or ())
        for address in wanted:
            family = "IPv6" if ":" in address else "IPv4"
            if address != "None" and family not in families:
                families.append(family)
        if spec.get("ipFamilyPolicy") == "SingleStack":
            return families[:1] or ["IPv4"]
        if not spec.get("ipFamilyPolicy"):
            # Who names no policy gets one family, as everywhere: a program that listens on IPv4
            # alone would otherwise be reached by an address it does not serve.
            return families or ["IPv4"]
        return families + [family for family in RANGES if family not in families]

    def _choose(self, kind: Kind, key: Key, wanted: list[str], families: list[str]) -> list[str]:
        by_family = {("IPv6" if ":" in address else "IPv4"): address for address in wanted}
        for address in wanted:
            self._require_free(kind, key, address)
        missing = [family for family in families if family not in by_family]
        if missing:
            offset = self._free_offset(missing)
            by_family |= {family: str(RANGES[family][offset]) for family in missing}
        return [by_family[family] for family in families]

    def _require_free(self, kind: Kind, key: Key, address: str) -> None:
        why = ""
        offset = _offset(address)
        if offset is None:
            ranges = ", ".join(str(network) for network in RANGES.values())
            why = f"provided IP is not in the valid range. The ranges of valid IPs are {ranges}"
        elif self._is_anothers(key, address) or (offset == API_OFFSET and key != API_SERVICE):
            why = "provided IP is already allocated"
        if why:
            message = f'Invalid value: "{address}": failed to allocate IP {address}: {why}'
            raise invalid_field(kind, key.name, "spec.clusterIPs", message)

    def _is_anothers(self, key: Key, address: str) -> bool:
        return self._is_taken(address) and self._holders.get(address) != key

    def _free_offset(self, families: list[str]) -> int:
        for offset in self._offsets():
            if not any(self._is_taken(str(RANGES[family][offset])) for family in families):
                self._next = offset + 1
                return offset
        raise StatusError(500, "no service address is free in the ranges of this mesh")

    def _offsets(self) -> Iterator[int]:
        yield from _usual(range(self._next, _AFTER_LAST_OFFSET))
        yield from _usual(range(_FIRST_OFFSET, min(self._next, _AFTER_LAST_OFFSET)))

    def _is_taken(self, address: str) -> bool:
        holder = self._holders.get(address)
        if holder is None:
            return False
        service = self._present(holder)
        if service is not None and address in (service["spec"].get("clusterIPs") or ()):
            return True
        del self._holders[address]
        return False


def _usual(offsets: Iterable[int]) -> Iterator[int]:
    """Leave out what looks like a network or a broadcast address: some programs refuse those."""
    return (offset for offset in offsets if offset & 0xFF not in (0, 0xFF))


def _offset(address: str) -> int | None:
    """Give the place of an address in its range; None outside the ranges."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    for network in RANGES.values():
        if parsed.version == network.version and parsed in network:
            return int(parsed) - int(network.network_address)
    return None
