"""The nftables rulesets of a captured pod, as text; pure.

Each ruleset replaces whatever capture table stands in the pod, in one transaction that never
passes through a moment without connection tracking and without address translation, because
either ends every connection that is being translated. Only bare SYN segments are redirected, so
a connection that was open before the capture keeps its way for good.

Source: node-proxy specification §2.1.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from ambimesh.node.ports import (
    INBOUND_HBONE_PORT,
    INBOUND_PLAINTEXT_PORT,
    MARK_MASK,
    OUTBOUND_PORT,
    PROXY_MARK,
    RETURN_MARK,
    TABLE,
)

# Both ends have given up a handshake by then: 7 SYN retransmissions take 127 s.
OPENING_SECONDS = 130

_PROXY = f"meta mark & {MARK_MASK:#x} == {PROXY_MARK:#x}"
_RETURN = f"meta mark & {MARK_MASK:#x} == {RETURN_MARK:#x}"
_BARE_SYN = "meta l4proto tcp tcp flags & (fin | syn | rst | ack) == syn"

# `ct state new`: without it a spoofed connection on the ports of an old direct one takes that
# one's packets with it.
_MANGLE = f"""
 chain mangle-prerouting {{
  type filter hook prerouting priority -150
  {_PROXY} ct state new ct mark set ct mark & {~MARK_MASK & 0xFFFFFFFF:#x} | {RETURN_MARK:#x}
 }}
 chain mangle-output {{
  type route hook output priority -150
  ct mark & {MARK_MASK:#x} == {RETURN_MARK:#x} meta mark set ct mark
 }}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A connection whose handshake is under way, as its client sees it."""

    client: IPv4Address | IPv6Address
    client_port: int
    server: IPv4Address | IPv6Address
    server_port: int

    @property
    def element(self) -> str:
        """The connection as an element of a set."""
        return f"{self.client} . {self.client_port} . {self.server} . {self.server_port}"


def capture_ruleset(openings: Iterable[Opening] = ()) -> str:
    """Redirect new connections of the pod, out and in, to the node proxy.

    ``openings`` are left alone: a SYN that is sent again must not meet the proxy while its
    first answer is still on the way.
    """
    openings = tuple(openings)
    sets = _opening_set("ip", "ipv4_addr", openings) + _opening_set("ip6", "ipv6_addr", openings)
    exempt = "".join(
        f"  {family} saddr . tcp sport . {family} daddr . tcp dport @opening-{family} return\n"
        for family in ("ip", "ip6")
    )
    return _replacing(f"""{sets}{_MANGLE}
 chain nat-prerouting {{
  type nat hook prerouting priority -100
  {_BARE_SYN} jump inbound
 }}
 chain inbound {{
{exempt}  ip daddr 127.0.0.1 return
  ip6 daddr ::1 return
  tcp dport {INBOUND_HBONE_PORT} return
  {_PROXY} return
  meta l4proto tcp redirect to :{INBOUND_PLAINTEXT_PORT}
 }}
 chain nat-output {{
  type nat hook output priority -100
  {_BARE_SYN} jump outbound
 }}
 chain outbound {{
{exempt}  {_RETURN} accept
  oifname lo ip daddr != 127.0.0.1 accept
  oifname lo ip6 daddr != ::1 accept
  ip daddr 127.0.0.1 return
  ip6 daddr ::1 return
  {_PROXY} return
  meta l4proto tcp redirect to :{OUTBOUND_PORT}
 }}
""")


def drain_ruleset() -> str:
    """Capture nothing new and keep every connection that is being translated."""
    return _replacing(f"""{_MANGLE}
 chain nat-prerouting {{
  type nat hook prerouting priority -100
 }}
 chain nat-output {{
  type nat hook output priority -100
 }}
""")


def removal() -> str:
    """Take the table away; right only when no socket of the proxy is left in the pod."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\n"


def _replacing(body: str) -> str:
    """Create, delete, create in one transaction: the same whether a table stood there or not."""
    return f"table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{{body}}}\n"


def _opening_set(family: str, kind: str, openings: tuple[Opening, ...]) -> str:
    version = 4 if family == "ip" else 6
    elements = ", ".join(o.element for o in openings if o.client.version == version)
    filled = f"  elements = {{ {elements} }}\n" if elements else ""
    return (
        f"\n set opening-{family} {{\n"
        f"  type {kind} . inet_service . {kind} . inet_service\n"
        f"  timeout {OPENING_SECONDS}s\n{filled} }}"
    )
