"""What is wrong with one field, in the words of a Status cause.

Source: k8s.io/apimachinery/pkg/util/validation/field; kubectl prints field and message as they are.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One field that is wrong."""

    reason: str  # FieldValueTypeInvalid, FieldValueRequired, FieldValueNotSupported, ...
    message: str  # 'Invalid value: "string": spec.replicas in body must be of type integer: ...'
    field: str  # dotted, list items as [0]


def shown(value: object) -> str:
    """Write a value as messages do: JSON, cut where it gets long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:200]}..."


def wrong_type(field: str, value: object, expected: str) -> Cause:
    """Say that the value has another JSON type than it should."""
    have = json_type(value)
    message = f'Invalid value: "{have}": {field} in body must be of type {expected}: "{have}"'
    return Cause(reason="FieldValueTypeInvalid", message=message, field=field)


def required(field: str, why: str = "") -> Cause:
    """Say that a field is missing."""
    message = f"Required value: {why}" if why else "Required value"
    return Cause(reason="FieldValueRequired", message=message, field=field)


def invalid(field: str, value: object, why: str) -> Cause:
    """Say that a value has the right type and is wrong all the same."""
    return Cause(
        reason="FieldValueInvalid", message=f"Invalid value: {shown(value)}: {why}", field=field
    )


def unsupported(field: str, value: object, choices: Iterable[str]) -> Cause:
    """Say that a value is none of those there are."""
    known = ", ".join(f'"{choice}"' for choice in choices)
    message = f"Unsupported value: {shown(value)}: supported values: {known}"
    return Cause(reason="FieldValueNotSupported", message=message, field=field)


def duplicate(field: str, value: object) -> Cause:
    """Say that a value is there twice where it may be there once."""
    return Cause(
        reason="FieldValueDuplicate", message=f"Duplicate value: {shown(value)}", field=field
    )


def forbidden(field: str, why: str) -> Cause:
    """Say that a field may not be set here."""
    return Cause(reason="FieldValueForbidden", message=f"Forbidden: {why}", field=field)


def too_many(field: str, count: int, limit: int) -> Cause:
    """Say that a list or map has more items than it may."""
    message = f"Too many: {count}: must have at most {limit} items"
    return Cause(reason="FieldValueTooMany", message=message, field=field)


def too_long(field: str, limit: int) -> Cause:
    """Say that a string is longer than it may be."""
    message = f"Too long: may not be more than {limit} bytes"
    return Cause(reason="FieldValueTooLong", message=message, field=field)


def json_type(value: object) -> str:
    """Name the JSON type of a value."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"
