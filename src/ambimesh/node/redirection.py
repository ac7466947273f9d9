"""What the node agent puts into one pod's network namespace, and takes out again.

Blocking functions over a namespace's descriptor; each is idempotent, and each leaves the pod's
traffic flowing if it fails half way.

Source: node-proxy specification §2.1; design D7, D10.
"""

import contextlib
import errno
import socket
from dataclasses import dataclass
from ipaddress import ip_network

from ambimesh.node import nftables, sockdiag
from ambimesh.node.namespace import run_in, write_sysctl
from ambimesh.node.ports import (
    MARK_MASK,
    PROXY_MARK,
    RETURN_MARK,
    RETURN_RULE_PRIORITY,
    RETURN_TABLE,
    TABLE,
)
from ambimesh.node.rtnetlink import NetlinkError, RouteSocket
from ambimesh.node.rtnetlink_messages import (
    MarkRule,
    NewRoute,
    add_route,
    add_rule,
    delete_route,
    delete_rule,
)
from ambimesh.node.ruleset import capture_ruleset, drain_ruleset, removal

# A day: a connection that is half closed and quiet must outlive the kernel's one minute.
HALF_CLOSED_SECONDS = 86_400

SYSCTLS = {
    # A late segment beyond the window must not have the peer reset.
    "net.netfilter.nf_conntrack_tcp_be_liberal": "1",
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": str(HALF_CLOSED_SECONDS),
    "net.netfilter.nf_conntrack_tcp_timeout_fin_wait": str(HALF_CLOSED_SECONDS),
    # A proxy that binds for itself (Istio's) hands its queue on when it ends.
    "net.ipv4.tcp_migrate_req": "1",
}

Rules = tuple[str, ...]  # see nftables.read_back


@dataclass(frozen=True, slots=True)
class Redirection:
    """The rules of one pod. The descriptor belongs to the caller."""

    namespace: int

    def prepare(self) -> None:
        """Set what must stand before the first packet is redirected: settings and return routes."""
        run_in(self.namespace, _prepare)

    def capture(self) -> Rules:
        """Redirect new connections from now on; those that are open or opening are left alone.

        Returns:
            The rules as read back, for ``holds``.
        """
        openings = run_in(self.namespace, sockdiag.openings)
        return self._load(capture_ruleset(openings))

    def drain(self) -> Rules:
        """Redirect nothing new; keep every connection that is being redirected."""
        return self._load(drain_ruleset())

    def holds(self, expected: Rules) -> bool:
        """Tell whether exactly the rules that were loaded still stand."""
        return nftables.read_back(self.namespace, TABLE) == expected

    def carried_connections(self) -> int:
        """Count sockets of the proxy that carry a connection in this pod."""
        return run_in(self.namespace, lambda: sockdiag.carrying_sockets(PROXY_MARK))

    def remove(self) -> None:
        """Take everything out; right only when no connection is carried any more."""
        nftables.load(self.namespace, removal())
        run_in(self.namespace, _remove_return_routes)

    def _load(self, ruleset: str) -> Rules:
        nftables.load(self.namespace, ruleset)
        loaded = nftables.read_back(self.namespace, TABLE)
        if loaded is None:
            raise nftables.RulesetError("the rules were gone as soon as they were loaded")
        return loaded


def _return_rules() -> list[MarkRule]:
    return [
        MarkRule(
            family=family,
            mark=RETURN_MARK,
            mask=MARK_MASK,
            table=RETURN_TABLE,
            priority=RETURN_RULE_PRIORITY,
        )
        for family in (socket.AF_INET, socket.AF_INET6)
    ]


def _return_routes() -> list[NewRoute]:
    loopback = socket.if_nametoindex("lo")
    return [
        NewRoute(destination=ip_network(everything), link=loopback, local=True, table=RETURN_TABLE)
        for everything in ("0.0.0.0/0", "::/0")
    ]


def _prepare() -> None:
    for name, value in SYSCTLS.items():
        write_sysctl(name, value)
    with RouteSocket() as kernel:
        kernel.apply(*map(add_route, _return_routes()))
        for rule in _return_rules():
            try:
                kernel.apply(add_rule(rule))
            except NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise


def _remove_return_routes() -> None:
    with RouteSocket() as kernel:
        for request in [
            *map(delete_rule, _return_rules()),
            *map(delete_route, _return_routes()),
        ]:
            with contextlib.suppress(NetlinkError):  # not there: what we want
                kernel.apply(request)
