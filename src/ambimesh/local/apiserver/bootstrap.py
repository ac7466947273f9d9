"""What is there from the first start: namespaces, their companions, the Service `kubernetes`."""

from collections.abc import Iterable

from ambimesh.local import addresses
from ambimesh.local.apiserver.builtin import (
    CONFIG_MAPS,
    NAMESPACES,
    SERVICE_ACCOUNTS,
    SERVICES,
    SLICES,
)
from ambimesh.local.apiserver.objects.options import WriteOptions
from ambimesh.local.apiserver.objects.registry import Companions, Registry
from ambimesh.local.apiserver.objects.service_address import API_SERVICE
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import JsonObject, Key
from ambimesh.local.apiserver.types.kinds import Kind

_INITIAL_NAMESPACES = ("default", "istio-system", "kube-node-lease", "kube-public", "kube-system")
ROOT_CERTIFICATE = "kube-root-ca.crt"
_MANAGER = "ambimesh-apiserver"
_COMPONENT_ACCOUNTS = ("istiod", "ztunnel")  # in istio-system


def companions(authority: bytes) -> Companions:
    """Give what every namespace has: an account for pods, and the root they trust the API by."""

    def of_namespace(namespace: str) -> Iterable[tuple[Kind, JsonObject]]:
        metadata = {"namespace": namespace}
        yield SERVICE_ACCOUNTS, {"metadata": {"name": "default", **metadata}}
        yield (
            CONFIG_MAPS,
            {
                "metadata": {"name": ROOT_CERTIFICATE, **metadata},
                "data": {"ca.crt": authority.decode()},
            },
        )

    return of_namespace


async def create_initial_objects(registry: Registry) -> None:
    """Create what is missing of the objects that every mesh has.

    Errors: StoreUnavailableError.
    """
    for name in _INITIAL_NAMESPACES:
        await _ensure(registry, NAMESPACES, "", {"metadata": {"name": name}})
    for name in _COMPONENT_ACCOUNTS:
        await _ensure(registry, SERVICE_ACCOUNTS, "istio-system", {"metadata": {"name": name}})
    await _ensure(registry, SERVICES, API_SERVICE.namespace, _api_service())
    for obj in _api_slices():
        await _ensure(registry, SLICES, API_SERVICE.namespace, obj)


async def _ensure(registry: Registry, kind: Kind, namespace: str, obj: JsonObject) -> None:
    if Key(namespace, obj["metadata"]["name"]) in registry.shelf(kind).latest:
        return
    try:
        await registry.create(kind, namespace, obj, WriteOptions(manager=_MANAGER))
    except StatusError as error:
        # Its namespace may be going away, or its address taken: the mesh runs without it.
        if error.code not in (403, 404, 409):
            raise


def _api_service() -> JsonObject:
    v4, v6 = (str(network[1]) for network in addresses.services().both)
    return {
        "metadata": {
            "name": API_SERVICE.name,
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": v4,
            "clusterIPs": [v4, v6],
            "ipFamilies": ["IPv4", "IPv6"],
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 443}],
        },
    }


def _api_slices() -> Iterable[JsonObject]:
    for family, suffix, address in (
        ("IPv4", "", addresses.control().v4),
        ("IPv6", "-ipv6", addresses.control().v6),
    ):
        yield {
            "metadata": {
                "name": API_SERVICE.name + suffix,
                "labels": {"kubernetes.io/service-name": API_SERVICE.name},
            },
            "addressType": family,
            "endpoints": [{"addresses": [str(address)], "conditions": {"ready": True}}],
            "ports": [{"name": "https", "port": addresses.API_PORT, "protocol": "TCP"}],
        }
