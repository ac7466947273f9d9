"""Names that mean something, and how the unique ones are made.

Source: Istio's workload discovery API; the formats are the same to the byte.
"""

from typing import Final, NewType

WorkloadUid = NewType("WorkloadUid", str)
NetworkId = NewType("NetworkId", str)  # "" is the network of a mesh that has only one
ClusterId = NewType("ClusterId", str)
ResourceName = NewType("ResourceName", str)  # of an xDS resource
PolicyKey = NewType("PolicyKey", str)  # "<namespace>/<name>"
ServiceKey = NewType("ServiceKey", str)  # "<namespace>/<hostname>"

DEFAULT_CLUSTER: Final = ClusterId("Kubernetes")
LOCAL_NETWORK: Final = NetworkId("")


def pod_uid(cluster: ClusterId, namespace: str, name: str) -> WorkloadUid:
    """Name a pod. The API group between the slashes is the core group: empty."""
    return WorkloadUid(f"{cluster}//Pod/{namespace}/{name}")


def workload_entry_uid(cluster: ClusterId, namespace: str, name: str) -> WorkloadUid:
    """Name a WorkloadEntry."""
    return WorkloadUid(f"{cluster}/networking.istio.io/WorkloadEntry/{namespace}/{name}")


def service_entry_uid(cluster: ClusterId, namespace: str, name: str, address: str) -> WorkloadUid:
    """Name an endpoint of a ServiceEntry by its address or hostname."""
    return WorkloadUid(f"{cluster}/networking.istio.io/ServiceEntry/{namespace}/{name}/{address}")


def endpoint_uid(cluster: ClusterId, namespace: str, slice_name: str, address: str) -> WorkloadUid:
    """Name an endpoint that a slice lists by address only."""
    return WorkloadUid(
        f"{cluster}/discovery.k8s.io/EndpointSlice/{namespace}/{slice_name}/{address}"
    )


def service_key(namespace: str, hostname: str) -> ServiceKey:
    """Name a service: its namespace and its hostname."""
    return ServiceKey(f"{namespace}/{hostname}")


def policy_key(namespace: str, name: str) -> PolicyKey:
    """Name a policy."""
    return PolicyKey(f"{namespace}/{name}")
