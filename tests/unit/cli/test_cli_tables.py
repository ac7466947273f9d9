"""Tables on the terminal."""

from typing import Any

import pytest

from ambimesh.cli.tables import TablePrinter, render

COLUMNS = [
    {"name": "Name", "priority": 0},
    {"name": "Ready"},
    {"name": "Node", "priority": 1},
]


def table(*rows: tuple[Any, ...], namespace: str = "demo") -> dict[str, Any]:
    """Make a table as the API server gives it."""
    cells = [{"cells": list(row), "object": {"metadata": {"namespace": namespace}}} for row in rows]
    return {"columnDefinitions": COLUMNS, "rows": cells}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "NAME     READY\nweb      true\na-long   <none>\n"),
        ({"wide": True}, "NAME     READY    NODE\nweb      true     node-1\na-long   <none>   7\n"),
        (
            {"with_namespace": True},
            "NAMESPACE   NAME     READY\ndemo        web      true\ndemo        a-long   <none>\n",
        ),
    ],
)
def test_table_is_the_approved_one(
    options: dict[str, bool], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns of priority 1 are for wide output; no line ends with blanks."""
    rows = (("web", True, "node-1"), ("a-long", None, 7))
    assert TablePrinter(**options).show(table(*rows)) == 2
    assert capsys.readouterr().out == expected


def test_later_rows_keep_the_widths_and_have_no_headings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A watch goes on below the list; what is wider pushes the rest aside."""
    printer = TablePrinter()
    printer.show(table(("web", "1/1", "")))
    capsys.readouterr()

    printer.show(table(("a", "0/1", ""), ("longer", "1/1", "")))

    assert capsys.readouterr().out == "a      0/1\nlonger   1/1\n"


def test_table_without_rows_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Not even headings; the caller says that there is nothing."""
    assert TablePrinter().show({"columnDefinitions": COLUMNS, "rows": None}) == 0
    assert TablePrinter().show({}) == 0
    assert capsys.readouterr().out == ""


def test_rendered_rows_are_aligned() -> None:
    """The same layout, as text."""
    assert render(("A", "B"), [("1", "2"), ("333", "4")]) == "A     B\n1     2\n333   4"
    assert render(("A", "B"), []) == "A   B"
