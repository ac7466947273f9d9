"""Write the reference pages that are made from the code: diagnostics and commands."""

from pathlib import Path

from ambimesh.cli.main import COMMANDS
from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import Diagnostic

REFERENCE = Path(__file__).resolve().parents[1] / "docs" / "reference"


def diagnostics_page() -> str:
    """Give one section for each diagnostic, by code."""
    found = [value for value in vars(catalogue).values() if isinstance(value, Diagnostic)]
    lines = [
        "# Diagnostics",
        "",
        "Made from the catalogue by `make docs`; a code is never reused.",
        "",
    ]
    for diagnostic in sorted(found, key=lambda d: d.code):
        lines += [
            f"## {diagnostic.code}", "",
            f"*{diagnostic.severity}*: {diagnostic.text}", "",
            f"What to do: {diagnostic.hint}", "",
        ]  # fmt: skip
    return "\n".join(lines)


def commands_page() -> str:
    """Give one row for each command."""
    rows = [f"| `ambi {name}` | {text} |" for name, (_, text) in COMMANDS.items()]
    head = [
        "# Commands",
        "",
        "Made by `make docs`. Every command explains itself with `--help`.",
        "",
    ]
    return "\n".join([*head, "| command | does |", "|---|---|", *rows, ""])


def main() -> None:
    """Write both pages."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    (REFERENCE / "diagnostics.md").write_text(diagnostics_page(), "utf-8")
    (REFERENCE / "commands.md").write_text(commands_page(), "utf-8")


if __name__ == "__main__":
    main()
