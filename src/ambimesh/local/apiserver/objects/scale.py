"""The door ``scale``: the number of replicas of a workload, as a small object of its own.

Source: autoscaling/v1 Scale.
"""

from ambimesh.local.apiserver.selectors import from_object
from ambimesh.local.apiserver.status import bad_request
from ambimesh.local.apiserver.store.entry import JsonObject


def scale_of(obj: JsonObject) -> JsonObject:
    """Give the Scale of a workload."""
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    terms = from_object(obj["spec"].get("selector") or {}).requirements
    selector = ",".join(f"{term.key}={value}" for term in terms for value in sorted(term.values))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": {"replicas": obj["spec"].get("replicas", 1)},
        "status": {"replicas": obj.get("status", {}).get("replicas", 0), "selector": selector},
    }


def scaled(obj: JsonObject, scale: JsonObject) -> JsonObject:
    """Give the workload with the replicas that a Scale asks for.

    Errors: StatusError 400.
    """
    spec = scale.get("spec")
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise bad_request(f"spec.replicas: Invalid value: {replicas!r}: must be a number from 0 on")
    version = scale.get("metadata", {}).get("resourceVersion")
    if version:
        obj["metadata"]["resourceVersion"] = version
    obj["spec"]["replicas"] = replicas
    return obj
