"""Reading an object that may be odd: what is not there, or is something else, is empty."""

from typing import Any

JsonObject = dict[str, Any]


def member(value: Any, *names: str) -> Any:
    """Follow names into an object; ``None`` where the way ends."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def members(value: Any, *names: str) -> JsonObject:
    """Follow names to an object; an empty one where there is none."""
    found = member(value, *names)
    return found if isinstance(found, dict) else {}


def items(value: Any, *names: str) -> list[Any]:
    """Follow names to a list; an empty one where there is none."""
    found = member(value, *names)
    return found if isinstance(found, list) else []


def objects(value: Any, *names: str) -> list[JsonObject]:
    """Follow names to a list of objects, leaving out what is none."""
    return [item for item in items(value, *names) if isinstance(item, dict)]


def text(value: Any, *names: str, default: str = "") -> str:
    """Follow names to a text; the default where there is none, or an empty one."""
    found = member(value, *names)
    return str(found) if found not in (None, "") else default
