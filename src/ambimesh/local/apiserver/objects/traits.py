"""What single kinds want beyond their types: first values, and what never changes.

Source: the strategies of kube-apiserver's registries and its validation, as far as a user meets
them.
"""

import base64
from collections.abc import Callable
from typing import Any

from ambimesh.local.apiserver.selectors import from_object
from ambimesh.local.apiserver.status import StatusError, invalid_field
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.types.kinds import Kind

_Admit = Callable[[Kind, JsonObject], None]
_AdmitChange = Callable[[Kind, JsonObject, JsonObject], None]


def admit_new(kind: Kind, obj: JsonObject) -> None:
    """Complete and check an object that is created.

    Errors: StatusError 422.
    """
    if not kind.custom:
        _NEW.get(kind.kind, _nothing)(kind, obj)


def admit_change(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    """Complete and check an object that is changed.

    Errors: StatusError 422 when something changed that never may.
    """
    if not kind.custom:
        _CHANGED.get(kind.kind, _nothing_changed)(kind, old, new)


def _nothing(kind: Kind, obj: JsonObject) -> None:
    del kind, obj


def _nothing_changed(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    del kind, old, new


def _name(obj: JsonObject) -> str:
    return str(obj["metadata"]["name"])


def _required(kind: Kind, obj: JsonObject, field: str, text: str = "") -> StatusError:
    told = f"Required value: {text}" if text else "Required value"
    return invalid_field(kind, _name(obj), field, told, "FieldValueRequired")


def _require_same(kind: Kind, old: JsonObject, new: JsonObject, path: str) -> None:
    section, _, field = path.rpartition(".")
    before = old.get(section, {}) if section else old
    after = new.get(section, {}) if section else new
    if before.get(field) not in (None, "") and before.get(field) != after.get(field):
        told = f"Invalid value: {_shown(after.get(field))}: field is immutable"
        raise invalid_field(kind, _name(new), path, told)


def _shown(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _new_namespace(kind: Kind, obj: JsonObject) -> None:
    del kind
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj["status"] = {"phase": "Active"}
    _label_namespace(obj)


def _changed_namespace(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    del kind
    new["spec"] = old.get("spec", {})  # only the door `finalize` changes it
    _label_namespace(new)


def _label_namespace(obj: JsonObject) -> None:
    labels = obj["metadata"].setdefault("labels", {})
    labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


_POD_CHANGEABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")


def _new_pod(kind: Kind, obj: JsonObject) -> None:
    _require_pod_spec(kind, obj, obj.get("spec") or {}, "spec")
    obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def _require_pod_spec(kind: Kind, obj: JsonObject, spec: dict[str, Any], path: str) -> None:
    containers = spec.get("containers") or []
    if not containers:
        raise _required(kind, obj, f"{path}.containers")
    seen: set[str] = set()
    for section in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(section) or []):
            field = f"{path}.{section}[{index}].name"
            name = container.get("name")
            if not name:
                raise _required(kind, obj, field)
            if name in seen:
                told = f'Duplicate value: "{name}"'
                raise invalid_field(kind, _name(obj), field, told, "FieldValueDuplicate")
            seen.add(name)


def _changed_pod(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    if _fixed_pod_spec(old) != _fixed_pod_spec(new):
        told = (
            "Forbidden: pod updates may not change fields other than"
            " `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing"
            " tolerations)"
        )
        raise invalid_field(kind, _name(new), "spec", told, "FieldValueForbidden")


def _fixed_pod_spec(pod: JsonObject) -> dict[str, Any]:
    spec = {k: v for k, v in pod["spec"].items() if k not in _POD_CHANGEABLE}
    for section in ("containers", "initContainers"):
        if section in spec:
            spec[section] = [
                {k: v for k, v in container.items() if k != "image"} for container in spec[section]
            ]
    return spec


def _new_workload(kind: Kind, obj: JsonObject) -> None:
    obj.pop("status", None)
    _require_template(kind, obj)


def _changed_workload(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    _require_same(kind, old, new, "spec.selector")
    _require_template(kind, new)


def _require_template(kind: Kind, obj: JsonObject) -> None:
    spec = obj.get("spec") or {}
    if not spec.get("selector"):
        raise _required(kind, obj, "spec.selector")
    template = spec.get("template") or {}
    labels = (template.get("metadata") or {}).get("labels") or {}
    selector = from_object(spec["selector"])
    if not selector.requirements or not selector.matches(labels):
        told = f"Invalid value: {_go_map(labels)}: `selector` does not match template `labels`"
        raise invalid_field(kind, _name(obj), "spec.template.metadata.labels", told)
    _require_pod_spec(kind, obj, template.get("spec") or {}, "spec.template.spec")


def _go_map(labels: dict[str, str]) -> str:
    pairs = ", ".join(f'"{key}":"{value}"' for key, value in sorted(labels.items()))
    return f"{{{pairs}}}"


def _new_service(kind: Kind, obj: JsonObject) -> None:
    obj["status"] = {"loadBalancer": {}}
    _require_ports(kind, obj)


def _changed_service(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    _require_ports(kind, new)
    before, after = old["spec"], new["spec"]
    if before.get("type") == "ExternalName" or after.get("type") == "ExternalName":
        return
    # Addresses are given once; a manifest that does not know them does not lose them.
    for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not after.get(field) and field in before:
            after[field] = before[field]
    if before.get("clusterIP") != after.get("clusterIP"):
        told = f'Invalid value: "{after.get("clusterIP")}": field is immutable'
        raise invalid_field(kind, _name(new), "spec.clusterIP", told)
    _require_same(kind, old, new, "spec.clusterIPs")


def _require_ports(kind: Kind, obj: JsonObject) -> None:
    spec = obj.get("spec") or {}
    ports = spec.get("ports") or []
    needs_ports = spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None"
    if needs_ports and not ports:
        raise _required(kind, obj, "spec.ports")
    seen: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        field = f"spec.ports[{index}]"
        number = port.get("port") or 0
        if not 1 <= number <= 65535:
            told = f"Invalid value: {number}: must be between 1 and 65535, inclusive"
            raise invalid_field(kind, _name(obj), f"{field}.port", told)
        if len(ports) > 1 and not port.get("name"):
            raise _required(kind, obj, f"{field}.name")
        one = (port.get("protocol") or "TCP", number)
        if one in seen:
            told = f'Duplicate value: {{"port":{number},"protocol":"{one[0]}"}}'
            raise invalid_field(kind, _name(obj), field, told, "FieldValueDuplicate")
        seen.add(one)


def _new_secret(kind: Kind, obj: JsonObject) -> None:
    obj["type"] = obj.get("type") or "Opaque"
    _fold_string_data(kind, obj)


def _changed_secret(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    new["type"] = new.get("type") or old.get("type") or "Opaque"
    _fold_string_data(kind, new)
    _require_same(kind, old, new, "type")
    _require_mutable(kind, old, new)


def _fold_string_data(kind: Kind, obj: JsonObject) -> None:
    for key, text in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
    for key, text in (obj.get("data") or {}).items():
        try:
            base64.b64decode(text, validate=True)
        except ValueError as error:
            told = f"Invalid value: must be base64: {error}"
            raise invalid_field(kind, _name(obj), f"data[{key}]", told) from error


def _require_mutable(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    if not old.get("immutable"):
        return
    for field in ("data", "binaryData", "immutable"):
        if old.get(field) != new.get(field):
            told = "Forbidden: field is immutable when `immutable` is set"
            raise invalid_field(kind, _name(new), field, told, "FieldValueForbidden")


def _changed_slice(kind: Kind, old: JsonObject, new: JsonObject) -> None:
    _require_same(kind, old, new, "addressType")


_NEW: dict[str, _Admit] = {
    "Namespace": _new_namespace,
    "Pod": _new_pod,
    "Deployment": _new_workload,
    "ReplicaSet": _new_workload,
    "Service": _new_service,
    "Secret": _new_secret,
}
_CHANGED: dict[str, _AdmitChange] = {
    "Namespace": _changed_namespace,
    "Pod": _changed_pod,
    "Deployment": _changed_workload,
    "ReplicaSet": _changed_workload,
    "Service": _changed_service,
    "Secret": _changed_secret,
    "ConfigMap": _require_mutable,
    "EndpointSlice": _changed_slice,
}
