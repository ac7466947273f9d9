"""A node agent writes only its own node, the pods on it, and their tokens.

Source: the Node authorizer and the NodeRestriction admission of kube-apiserver.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from ambimesh.local.apiserver.access.user import User
from ambimesh.local.apiserver.status import forbidden
from ambimesh.local.apiserver.store.entry import Entry, JsonObject
from ambimesh.local.apiserver.types.kinds import Kind

PROXY_NAMESPACE = "istio-system"
PROXY_ACCOUNT = "ztunnel"


def restrict(user: User, kind: Kind, obj: JsonObject) -> None:
    """Check that a node agent may write this object; call it with the old and the new state.

    Errors: StatusError 403.
    """
    if not user.node:
        return
    metadata = obj.get("metadata") or {}
    name = str(metadata.get("name") or metadata.get("generateName") or "")
    match (kind.group, kind.kind):
        case ("", "Node") | ("coordination.k8s.io", "Lease"):
            is_own = name == user.node
        case ("", "Pod"):
            is_own = (obj.get("spec") or {}).get("nodeName") == user.node
        case _:
            return
    if not is_own:
        why = f"node {user.node!r} may only change its own node and the pods on it"
        raise forbidden(kind, name, why)


def restrict_new(user: User, kind: Kind, namespace: str, obj: JsonObject) -> None:
    """Check that a node agent creates no pod but the one that stands for its node proxy.

    A pod brings a service account, and the agent may have tokens of the pods on its node: free
    creation would be any identity for the asking.

    Errors: StatusError 403.
    """
    restrict(user, kind, obj)
    if not user.node or (kind.group, kind.kind) != ("", "Pod"):
        return
    name = str((obj.get("metadata") or {}).get("name") or "")
    account = (obj.get("spec") or {}).get("serviceAccountName")
    allowed = (PROXY_NAMESPACE, f"{PROXY_ACCOUNT}-{user.node}", PROXY_ACCOUNT)
    if (namespace, name, account) != allowed:
        why = (
            f"node {user.node!r} may only create the pod {'/'.join(allowed[:2])} of its node proxy"
        )
        raise forbidden(kind, name, why)


def refers(pods: Iterable[Entry], node: str, resource: str, name: str) -> bool:
    """Tell whether a pod of a node names a secret or a config map of its namespace."""
    wanted = (resource, name)
    return any(
        wanted in references(pod.read()) for pod in pods if pod.fields.get("spec.nodeName") == node
    )


def references(pod: JsonObject) -> set[tuple[str, str]]:
    """Give the secrets and config maps that a pod names: resource and name."""
    return set(_references(pod.get("spec") or {}))


def _references(spec: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for secret in spec.get("imagePullSecrets") or ():
        yield "secrets", secret.get("name", "")
    for volume in spec.get("volumes") or ():
        yield from _volume(volume)
    for section in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(section) or ():
            yield from _environment(container)


def _volume(volume: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if secret := volume.get("secret"):
        yield "secrets", secret.get("secretName", "")
    if config := volume.get("configMap"):
        yield "configmaps", config.get("name", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        if secret := source.get("secret"):
            yield "secrets", secret.get("name", "")
        if config := source.get("configMap"):
            yield "configmaps", config.get("name", "")


def _environment(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for source in container.get("envFrom") or ():
        yield "secrets", (source.get("secretRef") or {}).get("name", "")
        yield "configmaps", (source.get("configMapRef") or {}).get("name", "")
    for variable in container.get("env") or ():
        value = variable.get("valueFrom") or {}
        yield "secrets", (value.get("secretKeyRef") or {}).get("name", "")
        yield "configmaps", (value.get("configMapKeyRef") or {}).get("name", "")
