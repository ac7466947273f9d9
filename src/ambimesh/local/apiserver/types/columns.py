"""What a column of a table is, and cells that several kinds have."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ambimesh.local.apiserver.types.duration import age
from ambimesh.local.apiserver.types.reading import items, member, members, objects, text

JsonObject = dict[str, Any]
Cell = Callable[[JsonObject, datetime], Any]

NONE = "<none>"
UNKNOWN = "<unknown>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column; those of priority 1 are shown with ``-o wide`` only."""

    name: str
    cell: Cell
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""

    def definition(self) -> JsonObject:
        """Give the wire form."""
        return {
            "name": self.name,
            "type": self.type,
            "format": self.format,
            "description": self.description or f"{self.name} of the object.",
            "priority": self.priority,
        }


def column(name: str, cell: Callable[[JsonObject], Any], type_: str = "string") -> Column:
    """Make a column that does not depend on the time."""
    return Column(name=name, type=type_, cell=lambda obj, _now: cell(obj))


def wide(name: str, cell: Callable[[JsonObject], Any]) -> Column:
    """Make a column for ``-o wide``."""
    return Column(name=name, priority=1, cell=lambda obj, _now: cell(obj))


def pairs(labels: Mapping[str, Any]) -> str:
    """Write labels as kubectl does: sorted, ``a=b,c=d``."""
    return ",".join(f"{name}={value}" for name, value in sorted(labels.items())) or NONE


def selector(spec: Any) -> str:
    """Write a label selector as kubectl does: ``app=web,tier in (a,b),!old``."""
    chosen = members(spec, "selector")
    terms = [f"{name}={value}" for name, value in sorted(members(chosen, "matchLabels").items())]
    for expression in objects(chosen, "matchExpressions"):
        key = text(expression, "key")
        values = f"({','.join(sorted(map(str, items(expression, 'values'))))})"
        match member(expression, "operator"):
            case "In":
                terms.append(f"{key} in {values}")
            case "NotIn":
                terms.append(f"{key} notin {values}")
            case "DoesNotExist":
                terms.append(f"!{key}")
            case _:
                terms.append(key)
    return ",".join(terms) or NONE


def condition(obj: Any, type_: str) -> str | None:
    """Give the status of a condition, ``None`` when the object does not have it."""
    for found in objects(obj, "status", "conditions"):
        if found.get("type") == type_:
            status = found.get("status")
            return status if isinstance(status, str) else None
    return None


def created_ago(obj: JsonObject, now: datetime) -> str:
    """Write the age of an object."""
    return age(member(obj, "metadata", "creationTimestamp"), now)


NAME = Column(
    name="Name",
    format="name",
    cell=lambda obj, _now: text(obj, "metadata", "name"),
    description="Name must be unique within a namespace.",
)
AGE = Column(name="Age", cell=created_ago, description="Time since the object was created.")
