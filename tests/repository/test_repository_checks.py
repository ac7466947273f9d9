"""What the house style promises of the tree itself."""

import ast
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from ambimesh.diagnostics import catalogue
from ambimesh.diagnostics.problem import Diagnostic

ROOT = Path(__file__).resolve().parents[2]
PYTHON_STOP, RUST_STOP, FUNCTION_STOP = 700, 800, 60
# Arrows of design §6: what each crate may depend on.
CRATE_ARROWS = {
    "types": set(),
    "hbone": {"types"},
    "policy": {"types"},
    "state": {"types", "policy"},
    "tls": {"types"},
    "netns": {"types"},
    "xds": {"types", "policy", "state", "tls"},
    "engine": {"types", "hbone", "policy", "state", "tls", "netns"},
    "proxy": {"types", "hbone", "policy", "state", "tls", "netns", "xds", "engine"},
    "py": {"proxy"},
    "testkit": {"types"},
}
IO_CRATES = {"tokio", "hyper", "tonic", "mio", "socket2", "rustix"}
ALLOWED_LICENCES = {
    "Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unicode-3.0", "Zlib", "0BSD",
    "CC0-1.0", "MPL-2.0", "Unlicense", "MIT-0", "BSL-1.0", "OpenSSL", "Apache-2.0 WITH LLVM-exception",
    "CDLA-Permissive-2.0", "PSF-2.0",
}  # fmt: skip


def _tracked(*patterns: str) -> Iterator[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=30,
    )  # fmt: skip
    return (ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file())


def _is_generated(path: Path) -> bool:
    return "generated" in path.parts


def test_source_files_stay_below_the_hard_stop() -> None:
    """No production file outgrows what a reader can hold (style §3)."""
    long = []
    for path in [*_tracked("src/*.py"), *_tracked("crates/*.rs")]:
        stop = PYTHON_STOP if path.suffix == ".py" else RUST_STOP
        text = path.read_text("utf-8").split("#[cfg(test)]\nmod tests {")[0]
        if text.count("\n") > stop and not _is_generated(path):
            long.append(f"{path.relative_to(ROOT)}: {text.count(chr(10))} lines")

    assert not long


def test_python_functions_stay_below_the_hard_stop() -> None:
    """No function body is longer than a screen (style §3)."""
    long = []
    for path in _tracked("src/*.py"):
        if _is_generated(path):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                first = node.body[1:2] or node.body  # the docstring does not count
                lines = (node.end_lineno or 0) - first[0].lineno + 1
                if lines > FUNCTION_STOP:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines}")

    assert not long


def test_test_modules_have_names_of_their_own() -> None:
    """Two test modules of one name would shadow each other."""
    names = [path.name for path in _tracked("tests/*test_*.py")]

    assert sorted(names) == sorted(set(names))


def _diagnostics() -> list[Diagnostic]:
    return [value for value in vars(catalogue).values() if isinstance(value, Diagnostic)]


def test_diagnostic_codes_are_unique_and_documented() -> None:
    """Each code names one thing, and the reference has a section for it."""
    codes = [diagnostic.code for diagnostic in _diagnostics()]
    reference = (ROOT / "docs/reference/diagnostics.md").read_text("utf-8")

    assert sorted(codes) == sorted(set(codes))
    assert [code for code in codes if f"## {code}" not in reference] == []


def test_messages_keep_the_house_tone() -> None:
    """No blame, no plea, no exclamation (style §6)."""
    forbidden = re.compile(r"\bplease\b|\bsimply\b|!", re.IGNORECASE)

    assert [d.code for d in _diagnostics() if forbidden.search(d.text + d.hint)] == []


def test_todo_comments_name_an_issue() -> None:
    """Work that is put off is written down where somebody will find it."""
    loose = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in [*_tracked("src/*.py"), *_tracked("crates/*.rs")]
        for line in path.read_text("utf-8").splitlines()
        if re.search(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))", line)
    ]

    assert not loose


def test_nothing_kept_names_a_machine() -> None:
    """No absolute path of somebody's machine is kept, and no lock file says where to download."""
    private = re.compile(r"/root/|/home/\w+/")
    checked = _tracked("*.py", "*.rs", "*.toml", "*.md", "Makefile", "scripts/*", ".ci/*")
    paths = [
        str(path.relative_to(ROOT))
        for path in checked
        if path != Path(__file__) and private.search(path.read_text("utf-8"))
    ]
    locked = (ROOT / "requirements.lock").read_text("utf-8")

    assert not paths
    assert "://" not in locked


@pytest.fixture(scope="module")
def cargo_metadata() -> dict[str, list[dict[str, object]]]:
    """What cargo knows of the workspace, without the network."""
    done = subprocess.run(
        ["cargo", "metadata", "--offline", "--format-version", "1", "--all-features"],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    loaded: dict[str, list[dict[str, object]]] = json.loads(done.stdout)
    return loaded


def test_crates_depend_in_one_direction() -> None:
    """The arrows of design §6 hold, and the pure crates do no I/O."""
    for manifest in sorted(ROOT.glob("crates/*/Cargo.toml")):
        crate = manifest.parent.name
        wanted = tomllib.loads(manifest.read_text("utf-8")).get("dependencies", {})
        ours = {name.removeprefix("ambimesh-") for name in wanted if name.startswith("ambimesh-")}

        assert ours <= CRATE_ARROWS[crate], crate
        if crate in {"types", "hbone", "policy", "state"}:
            assert not IO_CRATES & set(wanted), crate


def test_only_netns_may_hold_unsafe_code() -> None:
    """Every crate inherits the lint that forbids unsafe code, but the one that needs it."""
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text("utf-8"))
    free = [
        manifest.parent.name
        for manifest in ROOT.glob("crates/*/Cargo.toml")
        if not tomllib.loads(manifest.read_text("utf-8")).get("lints", {}).get("workspace")
    ]

    assert workspace["workspace"]["lints"]["rust"]["unsafe_code"] == "forbid"
    assert free == ["netns"]


def test_licences_of_crates_are_permissive(
    cargo_metadata: dict[str, list[dict[str, object]]],
) -> None:
    """Each crate we build on may be used under a licence of the list."""
    strange = []
    for package in cargo_metadata["packages"]:
        expression = str(package["license"] or "").replace("/", " OR ")
        choices = [part.strip(" ()") for part in re.split(r"\bOR\b|\bAND\b", expression)]
        needed = choices if " AND " in expression else choices[:0]
        fine = any(c in ALLOWED_LICENCES for c in choices) and all(
            c in ALLOWED_LICENCES for c in needed if c not in choices
        )
        if not fine:
            strange.append(f"{package['name']}: {package['license']}")

    assert not strange


def test_licences_of_python_packages_are_permissive() -> None:
    """What is installed beside us may be used in an Apache-2.0 program."""
    copyleft = re.compile(r"\b(A?GPL|LGPL|SSPL)\b")
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    names = re.findall(r"^([A-Za-z0-9._-]+)==", locked, re.MULTILINE)
    found = []
    for name in names:
        facts = metadata.metadata(name)
        said = " ".join(facts.get_all("License-Expression") or facts.get_all("License") or [])
        classifiers = " ".join(facts.get_all("Classifier") or [])
        if copyleft.search(said[:200]) or "GNU" in classifiers:
            found.append(name)

    assert not found


def test_no_locked_version_has_a_known_advisory() -> None:
    """No dependency is one that an advisory on our list speaks of."""
    known = tomllib.loads((ROOT / "docs/advisories.toml").read_text("utf-8"))["advisory"]
    crates = {
        (package["name"], package["version"])
        for package in tomllib.loads((ROOT / "Cargo.lock").read_text("utf-8"))["package"]
    }
    locked = (ROOT / "requirements.lock").read_text("utf-8")
    wheels = set(re.findall(r"^([A-Za-z0-9._-]+)==([^ \\]+)", locked, re.MULTILINE))
    hit = [
        f"{a['id']}: {name} {version}"
        for a in known
        for name, version in (crates if a["ecosystem"] == "crates" else wheels)
        if name == a["package"] and _version(version) < _version(a["patched"])
    ]

    assert known
    assert not hit


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
