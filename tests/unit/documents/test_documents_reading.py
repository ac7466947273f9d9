"""Reading manifests, and finding the kinds they name."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.diagnostics.problem import UsageError
from ambimesh.kube.documents import Documents, read_discovery, read_manifests

POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n"
RESOURCE = {
    "resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced",
    "singularResource": "pod", "shortNames": ["po"],
}  # fmt: skip


def names(text: str) -> list[str]:
    """Give the names of the objects in a text."""
    return [document["metadata"]["name"] for document in read_manifests(text, source="x.yaml")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (POD, ["web"]),
        ("", []),
        ("---\n---\n# nothing\n", []),
        (f"{POD}---\n{POD}", ["web", "web"]),
        ('{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"}}', ["web"]),
        (f"apiVersion: v1\nkind: List\nitems:\n- {POD.replace(chr(10), chr(10) + '  ')}", ["web"]),
        ("apiVersion: v1\nkind: List\nitems: []\n", []),
    ],
)
def test_manifests_are_split(text: str, expected: list[str]) -> None:
    """Documents, lists and JSON are read; empty documents are left out."""
    assert names(text) == expected


@pytest.mark.parametrize(
    ("text", "code", "cause"),
    [
        ("a: [", "AMB0201", "expected node content at line 2, column 1"),
        ("\tx: 1", "AMB0201", "character"),
        ("at: 2020-13-45", "AMB0201", "month"),
        ("\0", "AMB0201", ""),
        ("just text", "AMB0202", "it is text"),
        ("- 1", "AMB0202", "it is a list"),
        ("7", "AMB0202", "it is a number"),
        ("true", "AMB0202", "it is true or false"),
        ("items: [null]", "AMB0202", "it is empty"),
        ("kind: Pod", "AMB0202", "apiVersion and metadata missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {}", "AMB0202", "metadata missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {x: 1}", "AMB0202", "metadata.name missing"),
        ("apiVersion: v1\nkind: Pod\nmetadata: text", "AMB0202", "metadata.name missing"),
    ],
)
def test_what_is_no_manifest_is_refused_with_place_and_cause(
    text: str, code: str, cause: str
) -> None:
    """The code, the file, and what is wrong; never a traceback."""
    with pytest.raises(UsageError) as refused:
        list(read_manifests(text, source="x.yaml"))
    assert refused.value.problem.code == code
    assert "x.yaml" in refused.value.problem.text
    assert cause in refused.value.problem.cause


def test_number_of_the_bad_document_is_named() -> None:
    """A person finds the place."""
    with pytest.raises(UsageError) as refused:
        list(read_manifests(f"{POD}---\nkind: Pod\n", source="x.yaml"))
    assert "document 2 of x.yaml" in refused.value.problem.text


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever a file holds gives documents or ``UsageError``."""
    try:
        found = list(read_manifests(text, source="x"))
    except UsageError:
        return
    assert all(isinstance(document, dict) for document in found)


def group(name: str, *versions: str, **more: Any) -> dict[str, Any]:
    """Make a group of aggregated discovery with one kind."""
    served = [{"version": v, "resources": [{**RESOURCE, **more}]} for v in versions]
    return {"metadata": {"name": name}, "versions": served}


def documents(*groups: dict[str, Any]) -> Documents:
    """Make documents of a server that has these groups."""
    return Documents(cast("Any", None), list(read_discovery({"items": list(groups)})))


KNOWN = documents(
    group("", "v1"),
    group("apps", "v1", "v1beta1", resource="deployments", responseKind={"kind": "Deployment"},
          singularResource="deployment", shortNames=["deploy"]),
    group("x.io", "v2", resource="things", responseKind={"kind": "Thing"}, scope="Cluster",
          singularResource="", shortNames=[]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("pods", "api/v1/pods"),
        ("pod", "api/v1/pods"),
        ("po", "api/v1/pods"),
        ("Pod", "api/v1/pods"),
        ("PODS", "api/v1/pods"),
        ("deploy", "apis/apps/v1/deployments"),
        ("deployments.apps", "apis/apps/v1/deployments"),
        ("thing.x.io", "apis/x.io/v2/things"),
    ],
)
def test_every_word_for_a_kind_finds_it(word: str, path: str) -> None:
    """As kubectl takes them; of several versions the preferred one."""
    assert KNOWN.kind(word).path() == path


def test_unknown_kind_is_refused_with_those_there_are() -> None:
    """A typo is answered with the list."""
    with pytest.raises(UsageError) as refused:
        KNOWN.kind("pood")
    assert refused.value.problem.code == "AMB0205"
    assert refused.value.problem.cause == "there are deployments, pods, things"


@pytest.mark.parametrize(
    ("version", "kind", "path"),
    [
        ("v1", "Pod", "api/v1/namespaces/n/pods"),
        ("apps/v1beta1", "Deployment", "apis/apps/v1beta1/namespaces/n/deployments"),
        ("x.io/v2", "Thing", "apis/x.io/v2/things"),
    ],
)
def test_kind_of_a_manifest_keeps_its_version(version: str, kind: str, path: str) -> None:
    """A served version that is not the preferred one is used as written."""
    found = KNOWN.kind_of({"apiVersion": version, "kind": kind}, source="x.yaml")
    assert found.path("n") == path


@pytest.mark.parametrize(
    ("version", "kind"), [("v1", "Nothing"), ("apps/v1", "Pod"), ("other.io/v1", "Thing"), (1, 2)]
)
def test_manifest_of_an_unknown_kind_is_refused(version: object, kind: object) -> None:
    """With the file it stands in."""
    with pytest.raises(UsageError) as refused:
        KNOWN.kind_of({"apiVersion": version, "kind": kind}, source="x.yaml")
    assert refused.value.problem.code == "AMB0204"
    assert "x.yaml" in refused.value.problem.text
