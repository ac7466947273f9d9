"""What a path means: the resource, the object, the door, and the verb of the request.

Source: the paths of the Kubernetes API; a collection, an object, or a subresource of an object.
"""

from dataclasses import dataclass

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A path below a group and version."""

    group: str
    version: str
    resource: str  # plural
    namespace: str = ""
    name: str = ""
    door: str = ""  # the subresource

    def verb(self, method: str, *, is_watch: bool) -> str:
        """Give the verb that access rules are about; empty for a method that nothing takes."""
        if method == "GET" and not self.name:
            return "watch" if is_watch else "list"
        if method == "DELETE" and not self.name:
            return "deletecollection"
        return _VERBS.get(method, "")


def parse(path: str) -> Target | None:
    """Read a path; None when it is not about a resource."""
    parts = path.strip("/").split("/")
    match parts:
        case ["api", version, first, *rest]:
            group = ""
        case ["apis", group, version, first, *rest]:
            pass
        case _:
            return None
    rest = [first, *rest]
    if "" in rest:
        return None
    namespace = ""
    # /namespaces/NAME and its doors are about the namespace, all else is in the namespace.
    if first == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    if len(rest) > 3:
        return None
    resource, name, door = (*rest, "", "")[:3]
    return Target(
        group=group,
        version=version,
        resource=resource,
        namespace=namespace,
        name=name,
        door=door,
    )
