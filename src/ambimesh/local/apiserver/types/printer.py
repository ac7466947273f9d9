"""Tables, as ``kubectl get`` prints them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

from ambimesh.local.apiserver.types.columns import Column
from ambimesh.local.apiserver.types.columns_custom import CUSTOM
from ambimesh.local.apiserver.types.columns_native import NATIVE
from ambimesh.local.apiserver.types.columns_pod import POD
from ambimesh.local.apiserver.types.kinds import Kind

JsonObject = dict[str, Any]
Include = Literal["Metadata", "Object", "None"]

_COLUMNS = {**NATIVE, **POD, **CUSTOM}


def table(
    kind: Kind,
    objects: Sequence[JsonObject],
    *,
    now: datetime,
    include: Include = "Metadata",
    metadata: JsonObject | None = None,
    with_columns: bool = True,
) -> JsonObject:
    """Give a ``meta.k8s.io/v1`` Table with one row for each object.

    Total: an odd object gives an odd row. ``metadata`` is that of the list. A watch sends the
    columns with its first event only.
    """
    columns = columns_of(kind)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata or {},
        "columnDefinitions": [c.definition() for c in columns] if with_columns else None,
        "rows": [_row(columns, obj, now, include) for obj in objects],
    }


def columns_of(kind: Kind) -> tuple[Column, ...]:
    """Give the columns of a kind, the name among them."""
    return _COLUMNS.get(kind.kind, CUSTOM["Telemetry"])


def _row(columns: Sequence[Column], obj: JsonObject, now: datetime, include: Include) -> JsonObject:
    row: JsonObject = {"cells": [column.cell(obj, now) for column in columns]}
    if include == "Object":
        row["object"] = obj
    elif include == "Metadata":
        row["object"] = {
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": obj.get("metadata", {}),
        }
    return row
