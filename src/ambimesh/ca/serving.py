"""The server's own certificate: made by our authority, made anew before it ends.

It is renewed when a handshake asks for it, so there is no timer that could stop.
"""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from ambimesh.ca.authority import Authority, key_to_pem, to_pem

LIFETIME: Final = timedelta(hours=24)


class ServingCertificate:
    """Gives a key and a chain for the names of a server.

    Blocking: ``current`` signs at most twice a day, which takes under 1 ms. It may be called
    from any thread.
    """

    def __init__(
        self,
        authority: Callable[[], Authority | None],
        names: Sequence[str],
        *,
        clock: Callable[[], datetime],
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self._authority = authority
        self._names = [_general_name(name) for name in names]
        self._clock = clock
        self._lifetime = lifetime
        self._lock = threading.Lock()
        self._signed_by: Authority | None = None
        self._renew_at: datetime | None = None
        self._pair = (b"", b"")

    def current(self) -> tuple[bytes, bytes]:
        """Give the key and the chain in force, as PEM; both are empty while there is no root."""
        with self._lock:
            authority = self._authority()
            now = self._clock()
            due = self._renew_at is None or now >= self._renew_at
            if authority is not None and (due or authority is not self._signed_by):
                self._pair = self._make(authority, now)
                self._signed_by = authority
            return self._pair

    def _make(self, authority: Authority, now: datetime) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = authority.issue(key.public_key(), self._names, lifetime=self._lifetime, now=now)
        self._renew_at = now + (leaf.not_valid_after_utc - now) / 2
        chain = "".join(to_pem(item) for item in (leaf, *authority.intermediates))
        return key_to_pem(key).encode(), chain.encode()


def serving_names(namespace: str, addresses: Sequence[str]) -> tuple[str, ...]:
    """Give the names a control plane is reached by. Source: spec/control-plane.md §5.1."""
    services = (f"istiod.{namespace}.svc", f"istiod.{namespace}", "istiod")
    return (*services, f"istiod.{namespace}.svc.cluster.local", "localhost", *addresses)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
