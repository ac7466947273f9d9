"""What a request wants to do, in the terms of access rules."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Attributes:
    """One attempted action: on a resource, or on a path when there is no resource."""

    verb: str
    group: str = ""
    resource: str = ""
    door: str = ""  # the subresource
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        """The resource with its subresource, as rules name it."""
        return f"{self.resource}/{self.door}" if self.door else self.resource

    def words(self, user: str) -> str:
        """Say that the user may not, as Kubernetes does."""
        if not self.resource:
            return f'User "{user}" cannot {self.verb} path "{self.path}"'
        where = f'in the namespace "{self.namespace}"' if self.namespace else "at the cluster scope"
        return (
            f'User "{user}" cannot {self.verb} resource "{self.full_resource}"'
            f' in API group "{self.group}" {where}'
        )
