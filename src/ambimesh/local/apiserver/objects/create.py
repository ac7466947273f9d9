"""From what a client posts to the object that is stored."""

import uuid

from ambimesh.local.apiserver.apply import ownership
from ambimesh.local.apiserver.builtin import NAMESPACES
from ambimesh.local.apiserver.objects import names
from ambimesh.local.apiserver.objects.examine import examine, require_kind
from ambimesh.local.apiserver.objects.options import WriteOptions
from ambimesh.local.apiserver.objects.traits import admit_new
from ambimesh.local.apiserver.status import bad_request, forbidden, not_found
from ambimesh.local.apiserver.store.entry import JsonObject
from ambimesh.local.apiserver.types import defaults
from ambimesh.local.apiserver.types.kinds import Kind

# What a client may send and the server decides.
_SERVER_FIELDS = (
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
)


def require_namespace(kind: Kind, name: str, namespace: str, home: JsonObject | None) -> None:
    """Check that something may be created in a namespace; ``home`` is its latest state.

    Errors: StatusError 404 when it does not exist, 403 while it is being deleted.
    """
    if home is None:
        raise not_found(NAMESPACES, namespace)
    if "deletionTimestamp" in home["metadata"]:
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        why = (
            f"unable to create new content in namespace {namespace} because it is being terminated"
        )
        raise forbidden(kind, name, why, causes=[cause])


def identify(kind: Kind, namespace: str, obj: JsonObject) -> None:
    """Settle kind, namespace and name of an object that is created.

    Errors: StatusError 400, 422.
    """
    require_kind(kind, obj)
    metadata = obj["metadata"]
    if kind.namespaced:
        if (metadata.get("namespace") or namespace) != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the"
                " request"
            )
        metadata["namespace"] = namespace
    elif metadata.pop("namespace", None):
        raise bad_request("namespace is not allowed on this type")
    if metadata.get("name"):
        return
    if not metadata.get("generateName"):
        raise names.required(kind)
    if isinstance(metadata["generateName"], str):
        metadata["name"] = names.generate(metadata["generateName"])


def complete(
    kind: Kind, obj: JsonObject, options: WriteOptions, now: str
) -> tuple[JsonObject, tuple[str, ...]]:
    """Check an identified object and fill in everything but its managed fields.

    Errors: StatusError 400, 422.
    """
    obj, warnings = examine(kind, obj, options.validation)
    names.require_valid(kind, obj["metadata"]["name"])
    if obj["metadata"].get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    if "status" in kind.subresources:
        obj.pop("status", None)
    obj = defaults.fill(kind, defaults.prune(kind, obj))
    admit_new(kind, obj)
    metadata = obj["metadata"]
    for field in _SERVER_FIELDS:
        metadata.pop(field, None)
    metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now}
    if "spec" in obj:
        metadata["generation"] = 1
    else:
        metadata.pop("generation", None)
    return obj, warnings


def own(kind: Kind, obj: JsonObject, options: WriteOptions, now: str) -> JsonObject:
    """Record who set the fields of a new object."""
    return ownership.update(
        None,
        obj,
        manager=options.manager,
        subresource="",
        api_version=kind.api_version,
        time=now,
        kind=kind,
    )
