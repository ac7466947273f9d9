"""Texts that should be addresses."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network

from ambimesh.model.names import NetworkId
from ambimesh.model.workload import IpAddress, NetworkAddress


def parse_addresses(texts: Iterable[str]) -> tuple[IpAddress, ...] | None:
    """Read every address; ``None`` when one of them is none."""
    try:
        return tuple(ip_address(text) for text in texts)
    except ValueError:
        return None


def parse_address(text: str) -> IpAddress | None:
    """Read one address; ``None`` when it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def parse_range(text: str, network: NetworkId) -> NetworkAddress | None:
    """Read an address or a range, its host bits cleared; ``None`` when it is neither."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        return None
    length = found.prefixlen if "/" in text else None
    return NetworkAddress(network=network, address=found.network_address, length=length)
