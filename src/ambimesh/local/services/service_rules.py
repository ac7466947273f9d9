"""The nftables rules behind service addresses in a node's namespace, as text; pure.

A verdict map leads from (address, protocol, port) to a chain of the service, which picks an
endpoint at random. Changes are programmed in parts, each atomic for its services: without root
one transaction must fit the default socket buffer, which 175 services of ten endpoints fill.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network

from ambimesh.local.services.backends import Backend, Backends, Frontend, IpAddress

TABLE = "ambimesh-services"
PART = 100  # services in one transaction


def base_ruleset(ranges: Iterable[IPv4Network | IPv6Network]) -> str:
    """Lay the table out, empty: an address of ``ranges`` that no service has is refused.

    Refused in the nat chains, where a pod hears of it at once; in a forward chain it does not.
    """
    closed = "".join(
        f"  {'ip' if r.version == 4 else 'ip6'} daddr {r} goto closed\n" for r in ranges
    )
    lookup = (
        "  ip daddr . meta l4proto . th dport vmap @vips-ip\n"
        "  ip6 daddr . meta l4proto . th dport vmap @vips-ip6\n"
    )
    return f"""table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
 map vips-ip {{
  type ipv4_addr . inet_proto . inet_service : verdict
 }}
 map vips-ip6 {{
  type ipv6_addr . inet_proto . inet_service : verdict
 }}
 set self-ip {{
  type ipv4_addr . ipv4_addr
 }}
 set self-ip6 {{
  type ipv6_addr . ipv6_addr
 }}
 chain closed {{
  meta l4proto tcp reject with tcp reset
  reject with icmpx port-unreachable
 }}
 chain nat-prerouting {{
  type nat hook prerouting priority -100
{lookup}{closed} }}
 chain nat-output {{
  type nat hook output priority -100
{lookup}{closed} }}
 chain nat-postrouting {{
  type nat hook postrouting priority 100
  ct status dnat ip saddr . ip daddr @self-ip masquerade
  ct status dnat ip6 saddr . ip6 daddr @self-ip6 masquerade
 }}
}}
"""


def changes(before: Backends, after: Backends) -> Iterator[str]:
    """Give the transactions that turn the rules of ``before`` into those of ``after``.

    Shape: nothing when both are equal; at most ``PART`` services in each.
    """
    lines = [_gone(f) for f in sorted(before.keys() - after.keys())]
    lines += [
        _set(f, after[f], is_new=f not in before)
        for f in sorted(after)
        if before.get(f) != after[f]
    ]
    lines += _self_changes(_addresses(before), _addresses(after))
    for start in range(0, len(lines), PART):
        yield "".join(lines[start : start + PART])


def chain_name(frontend: Frontend) -> str:
    """Name the chain of a service port; colons are not allowed in names."""
    text = str(frontend.address).replace(":", "_").replace(".", "-")
    return f"s-{text}-{frontend.protocol}-{frontend.port}"


def _set(frontend: Frontend, backends: tuple[Backend, ...], *, is_new: bool) -> str:
    chain = f"inet {TABLE} {chain_name(frontend)}"
    text = f"add chain {chain}\nflush chain {chain}\nadd rule {chain} {_choice(backends)}\n"
    return text + (f"add element {_element(frontend)}\n" if is_new else "")


def _gone(frontend: Frontend) -> str:
    return (
        f"delete element {_element(frontend)}\ndelete chain inet {TABLE} {chain_name(frontend)}\n"
    )


def _element(frontend: Frontend) -> str:
    key = f"{frontend.address} . {frontend.protocol} . {frontend.port}"
    verdict = f"goto {chain_name(frontend)}"
    return f"inet {TABLE} vips-{_family(frontend.address)} {{ {key} : {verdict} }}"


def _choice(backends: tuple[Backend, ...]) -> str:
    if not backends:
        return "goto closed"
    family = _family(backends[0].address)
    targets = ", ".join(f"{i} : {b.address} . {b.port}" for i, b in enumerate(backends))
    number = f"numgen random mod {len(backends)}"
    return f"meta l4proto {{ tcp, udp }} dnat {family} to {number} map {{ {targets} }}"


def _self_changes(before: set[IpAddress], after: set[IpAddress]) -> list[str]:
    """A pod that reaches itself through a service must not see its own address as the source."""
    lines = []
    for verb, addresses in (("delete", before - after), ("add", after - before)):
        for address in sorted(addresses, key=lambda a: (a.version, int(a))):
            where = f"inet {TABLE} self-{_family(address)}"
            lines.append(f"{verb} element {where} {{ {address} . {address} }}\n")
    return lines


def _addresses(backends: Backends) -> set[IpAddress]:
    return {backend.address for found in backends.values() for backend in found}


def _family(address: IpAddress) -> str:
    return "ip" if address.version == 4 else "ip6"
