"""SPIFFE identities of workloads."""

import re
from dataclasses import dataclass
from typing import Final, NewType

TrustDomain = NewType("TrustDomain", str)

DEFAULT_TRUST_DOMAIN: Final = TrustDomain("cluster.local")

_SCHEME: Final = "spiffe://"
_SPIFFE_ID: Final = re.compile(
    r"spiffe://(?P<trust_domain>[a-z0-9._-]{1,255})"
    r"/ns/(?P<namespace>[A-Za-z0-9._-]+)/sa/(?P<service_account>[A-Za-z0-9._-]+)"
)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Identity:
    """Who a workload is: its service account, in a trust domain.

    Source: SPIFFE-ID §2, and Istio's layout of the path: ``/ns/<namespace>/sa/<account>``.
    """

    trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN
    namespace: str
    service_account: str

    def __str__(self) -> str:
        return f"{_SCHEME}{self.principal}"

    @property
    def principal(self) -> str:
        """The form that policies use: the SPIFFE ID without its scheme."""
        return f"{self.trust_domain}/ns/{self.namespace}/sa/{self.service_account}"

    @classmethod
    def parse(cls, text: str) -> "Identity":
        """Read a SPIFFE ID. Errors: ``ValueError`` for every other form."""
        found = _SPIFFE_ID.fullmatch(text)
        if found is None or len(text) > 2048:  # the limit of SPIFFE-ID §2.3
            raise ValueError(f"{text[:200]!r} is not spiffe://<trust domain>/ns/<ns>/sa/<account>")
        return cls(
            trust_domain=TrustDomain(found["trust_domain"]),
            namespace=found["namespace"],
            service_account=found["service_account"],
        )
