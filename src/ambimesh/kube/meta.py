"""What every Kubernetes object has: a kind, a place in the API, metadata, conditions."""

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec


class Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """Base of every struct here: immutable, camelCase on the wire, every field defaulted.

    Fields are only those somebody reads: a slim struct decodes a pod in 6 µs where untyped JSON
    takes 200. ``gc=False`` keeps them out of the cyclic collector; they never form cycles.
    """


class OwnerReference(Part, frozen=True):
    """The object that an object belongs to."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Metadata(Part, frozen=True):
    """Name, place and history of one object. A watch bookmark fills only ``resource_version``."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    generate_name: str = ""
    creation_timestamp: str = ""  # RFC 3339, UTC, whole seconds: ordered as text
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()


class Kind(msgspec.Struct, frozen=True):
    """The place of a kind in the API."""

    group: str  # empty for the core group
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Give ``apiVersion`` as manifests write it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Give the URL path of a collection, an object or a subresource.

        Shape: no leading slash; an empty ``namespace`` means all namespaces.
        """
        root = f"apis/{self.group}/{self.version}" if self.group else f"api/{self.version}"
        place = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        parts = [f"{root}{place}/{self.plural}", name, subresource]
        return "/".join(part for part in parts if part)


class Resource(Part, frozen=True):
    """A Kubernetes object that is read whole."""

    KIND: ClassVar[Kind]

    metadata: Metadata = Metadata()

    @property
    def key(self) -> tuple[str, str]:
        """Give ``(namespace, name)``; the namespace is empty for cluster-wide kinds."""
        return (self.metadata.namespace, self.metadata.name)

    @property
    def label(self) -> str:
        """Name the object as people read it: ``pod default/web``, ``node node-1``."""
        return describe(type(self).KIND, self.metadata.name, self.metadata.namespace)

    @property
    def age_key(self) -> tuple[str, str, str]:
        """Order objects from the oldest on; by name among those of the same second."""
        meta = self.metadata
        return (meta.creation_timestamp, meta.namespace, meta.name)

    def body(self) -> dict[str, Any]:
        """Give the object as JSON values with ``apiVersion`` and ``kind``, to write it."""
        kind = type(self).KIND
        fields: dict[str, Any] = msgspec.to_builtins(self)
        return {"apiVersion": kind.api_version, "kind": kind.kind, **fields}


class Condition(Part, frozen=True):
    """One line of a status: what is observed, since when, why."""

    type: str = ""
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    last_transition_time: str = ""
    observed_generation: int | str = 0  # Istio writes the number as text


class LabelRequirement(Part, frozen=True):
    """One expression of a label selector."""

    key: str = ""
    operator: str = ""  # In, NotIn, Exists, DoesNotExist
    values: tuple[str, ...] = ()


class LabelSelector(Part, frozen=True):
    """Labels an object must have. ``match_expressions`` as in Kubernetes."""

    match_labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    match_expressions: tuple[LabelRequirement, ...] = ()


def describe(kind: Kind, name: str, namespace: str = "") -> str:
    """Name an object as people read it: ``pod default/web``, ``node node-1``."""
    return f"{kind.kind.lower()} {namespace}/{name}" if namespace else f"{kind.kind.lower()} {name}"
