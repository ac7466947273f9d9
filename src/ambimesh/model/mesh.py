"""What holds for the whole mesh."""

from dataclasses import dataclass

from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN, TrustDomain
from ambimesh.model.names import DEFAULT_CLUSTER, LOCAL_NETWORK, ClusterId, NetworkId


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Settings that every compiler needs."""

    trust_domain: TrustDomain = DEFAULT_TRUST_DOMAIN
    root_namespace: str = "istio-system"  # its policies hold for the whole mesh
    domain_suffix: str = "cluster.local"
    cluster: ClusterId = DEFAULT_CLUSTER
    network: NetworkId = LOCAL_NETWORK

    def hostname(self, namespace: str, name: str) -> str:
        """Give the full name of a Kubernetes Service."""
        return f"{name}.{namespace}.svc.{self.domain_suffix}"
