"""The kinds that the server itself works with."""

from ambimesh.local.apiserver.types.kinds import Kind, by_path


def kind_of(api_version: str, plural: str) -> Kind:
    """Give a kind that is built in."""
    group, _, version = api_version.rpartition("/")
    kind = by_path(group, version, plural)
    assert kind is not None
    return kind


CONFIG_MAPS = kind_of("v1", "configmaps")
EVENTS = kind_of("v1", "events")
NAMESPACES = kind_of("v1", "namespaces")
NODES = kind_of("v1", "nodes")
PODS = kind_of("v1", "pods")
SERVICES = kind_of("v1", "services")
SERVICE_ACCOUNTS = kind_of("v1", "serviceaccounts")
DEPLOYMENTS = kind_of("apps/v1", "deployments")
REPLICA_SETS = kind_of("apps/v1", "replicasets")
SLICES = kind_of("discovery.k8s.io/v1", "endpointslices")
