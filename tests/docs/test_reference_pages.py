"""The reference pages say what the code says."""

import re
import runpy
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
GENERATOR = runpy.run_path(str(ROOT / "scripts" / "generate_docs.py"))


def test_reference_pages_are_up_to_date() -> None:
    """`make docs` would change nothing."""
    for name in ("diagnostics", "commands"):
        page = (ROOT / "docs" / "reference" / f"{name}.md").read_text("utf-8")

        assert page == GENERATOR[f"{name}_page"](), f"run `make docs`: {name}.md is old"


def test_files_that_the_readme_names_are_there() -> None:
    """No row of the table of what works points into the void."""
    text = (ROOT / "README.md").read_text("utf-8") + (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    named = set(re.findall(r"`((?:tests|crates|docs|scripts)/[^`\s]+)`", text))

    assert [name for name in sorted(named) if not list(ROOT.glob(name.rstrip("/")))] == []


def test_examples_are_manifests() -> None:
    """Every example parses into objects with a kind and a name."""
    for path in (ROOT / "docs" / "examples").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text("utf-8")):
            assert document["kind"]
            assert document["metadata"]["name"]
