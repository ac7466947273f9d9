"""Printing tables as kubectl does: columns under upper-case headings, three blanks apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import click

GAP = "   "


class TablePrinter:
    """Prints rows under headings that come once; later rows keep the widths of the first."""

    def __init__(self, *, wide: bool = False, with_namespace: bool = False) -> None:
        self._wide = wide
        self._with_namespace = with_namespace
        self._widths: list[int] = []

    def show(self, table: dict[str, Any]) -> int:
        """Print a meta.k8s.io/v1 Table; return how many rows it has."""
        columns = table.get("columnDefinitions") or []
        shown = [i for i, c in enumerate(columns) if self._wide or not c.get("priority")]
        headings = [columns[i]["name"].upper() for i in shown]
        rows = [self._cells(row, shown) for row in table.get("rows") or []]
        if not rows:
            return 0
        if self._with_namespace:
            headings.insert(0, "NAMESPACE")
        lines = rows if self._widths else [headings, *rows]
        self._print(lines)
        return len(rows)

    def _cells(self, row: dict[str, Any], shown: Sequence[int]) -> list[str]:
        cells = [_text(row["cells"][i]) for i in shown]
        if self._with_namespace:
            cells.insert(0, row.get("object", {}).get("metadata", {}).get("namespace", ""))
        return cells

    def _print(self, lines: list[list[str]]) -> None:
        if not self._widths:
            self._widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            click.echo(_joined(line, self._widths))


def render(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay rows out under headings; pure."""
    lines = [list(headings), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_joined(line, widths) for line in lines)


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
    return GAP.join(padded).rstrip()


def _text(cell: Any) -> str:
    if cell is None:
        return "<none>"
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
