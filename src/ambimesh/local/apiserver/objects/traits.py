"""What single kinds want beyond their types: first values, and what never changes.

Source: the strategies of kube-apiserver's registries, as far as a user meets them.
"""

from collections.abc import Callable
from typing import Any

from ambimesh.local.apiserver.status import invalid_field
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.types.kinds import Kind

DEFAULT_ACCOUNT = "default"
_POD_CHANGEABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
_POD_WORDS = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only"
    " additions to existing tolerations)"
)
_SERVICE_GIVEN = ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy")


def admit_new(kind: Kind, obj: JsonObject) -> None:
    """Complete an object that is created; its types and rules hold."""
    if not kind.custom and kind.kind in _NEW:
        _NEW[kind.kind](obj)


def admit_change(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    """Complete and check an object that is changed.

    Errors: StatusError 422 when something changed that never may.
    """
    if not kind.custom and kind.kind in _CHANGED:
        _CHANGED[kind.kind](kind, old, new)


def _new_namespace(namespace: JsonObject) -> None:
    namespace.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    namespace["status"] = {"phase": "Active"}


def _new_pod(pod: JsonObject) -> None:
    spec = pod["spec"]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_ACCOUNT
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    pod["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def _new_workload(workload: JsonObject) -> None:
    workload["status"] = {}


def _new_service(service: JsonObject) -> None:
    service["status"] = {"loadBalancer": {}}


def _new_secret(secret: JsonObject) -> None:
    secret["type"] = secret.get("type") or "Opaque"


def _changed_namespace(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    del kind
    new["spec"] = old.get("spec", {})  # only the door `finalize` changes it


def _changed_pod(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    if _fixed_pod_spec(old) != _fixed_pod_spec(new):
        raise invalid_field(kind, _name(new), "spec", _POD_WORDS, "FieldValueForbidden")


def _fixed_pod_spec(pod: JsonObject) -> dict[str, Any]:
    spec = {k: v for k, v in pod["spec"].items() if k not in _POD_CHANGEABLE}
    for section in ("containers", "initContainers"):
        if section in spec:
            spec[section] = [
                {k: v for k, v in container.items() if k != "image"} for container in spec[section]
            ]
    return spec


def _changed_workload(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    _require_same(kind, old, new, "spec.selector")


def _changed_service(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    before, after = old["spec"], new["spec"]
    if before.get("type") == "ExternalName" or after.get("type") == "ExternalName":
        return
    # Addresses are given once; a manifest that does not know them does not lose them.
    for field in _SERVICE_GIVEN:
        if not after.get(field) and field in before:
            after[field] = before[field]
    _require_same(kind, old, new, "spec.clusterIP")
    _require_same(kind, old, new, "spec.clusterIPs")


def _changed_secret(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    new["type"] = new.get("type") or old.get("type") or "Opaque"
    _require_same(kind, old, new, "type")
    _require_mutable(kind, old, new)


def _require_mutable(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    if not old.get("immutable"):
        return
    for field in ("data", "binaryData", "immutable"):
        if old.get(field) != new.get(field):
            told = "Forbidden: field is immutable when `immutable` is set"
            raise invalid_field(kind, _name(new), field, told, "FieldValueForbidden")


def _changed_slice(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    _require_same(kind, old, new, "addressType")


def _require_same(kind: Kind, old: JsonObject, new: JsonObject, path: str) -> None:
    section, _, field = path.rpartition(".")
    before = old.get(section, {}) if section else old
    after = new.get(section, {}) if section else new
    if before.get(field) not in (None, "") and before.get(field) != after.get(field):
        value = after.get(field)
        shown = f'"{value}"' if isinstance(value, str) else str(value)
        told = f"Invalid value: {shown}: field is immutable"
        raise invalid_field(kind, _name(new), path, told)


def _name(obj: JsonObject) -> str:
    return str(obj["metadata"]["name"])


_NEW: dict[str, Callable[[JsonObject], None]] = {
    "Namespace": _new_namespace,
    "Pod": _new_pod,
    "Deployment": _new_workload,
    "ReplicaSet": _new_workload,
    "Service": _new_service,
    "Secret": _new_secret,
}
_CHANGED: dict[str, Callable[[Kind, JsonObject, JsonObject], None]] = {
    "Namespace": _changed_namespace,
    "Pod": _changed_pod,
    "Deployment": _changed_workload,
    "ReplicaSet": _changed_workload,
    "Service": _changed_service,
    "Secret": _changed_secret,
    "ConfigMap": _require_mutable,
    "EndpointSlice": _changed_slice,
}
