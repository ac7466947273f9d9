"""JSON merge patch. Source: RFC 7386."""

from typing import Any


def apply(obj: Any, patch: Any) -> Any:
    """Lay the patch over the object, where null removes; the object given is not changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(obj) if isinstance(obj, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = apply(merged.get(name), value)
    return merged
