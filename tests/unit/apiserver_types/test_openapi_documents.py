"""OpenAPI documents."""

import json
from typing import Any

import pytest

from ambimesh.local.apiserver.types.kinds import KINDS
from ambimesh.local.apiserver.types.openapi import document, group_versions

JsonObject = dict[str, Any]
GROUP_VERSIONS = group_versions()


def test_group_versions_hold_every_kind() -> None:
    """Each served version has a document, core first."""
    assert GROUP_VERSIONS[0] == ("", "v1")
    assert {(kind.group, kind.version) for kind in KINDS} <= set(GROUP_VERSIONS)


@pytest.mark.parametrize(("group", "version"), GROUP_VERSIONS)
def test_document_is_whole_and_the_same_each_time(group: str, version: str) -> None:
    """Every reference leads somewhere; kubectl caches documents by the hash of their bytes."""
    made = document(group, version)

    text = json.dumps(made)
    assert text == json.dumps(document(group, version))
    for reference in _references(made):
        name = reference.removeprefix("#/components/schemas/")
        assert name in made["components"]["schemas"]


def _references(value: Any) -> Any:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def test_document_says_that_the_server_validates() -> None:
    """PATCH names ``fieldValidation``, and no strategic media type.

    Without the first kubectl validates by itself; with the second it would take merge keys from
    our schema.
    """
    paths = document("apps", "v1")["paths"]

    patch = paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert "strategic" not in json.dumps(paths)


def test_document_of_read_only_kind_has_no_way_to_write() -> None:
    """Operations follow the verbs of the kind."""
    path = document("", "v1")["paths"]["/api/v1/namespaces/{namespace}/resourcequotas"]

    assert set(path) == {"get"}


def test_schema_carries_merge_keys_and_descriptions() -> None:
    """The table is the one source of list types, defaults and words for ``explain``."""
    schemas = document("", "v1")["components"]["schemas"]
    spec = schemas["io.ambimesh.core.v1.ServiceSpec"]["properties"]

    assert spec["ports"]["x-kubernetes-list-type"] == "map"
    assert spec["ports"]["x-kubernetes-list-map-keys"] == ["port", "protocol"]
    assert spec["ports"]["x-kubernetes-patch-merge-key"] == "port"
    assert spec["selector"]["x-kubernetes-map-type"] == "atomic"
    port = schemas["io.ambimesh.core.v1.ServicePort"]
    assert port["required"] == ["port"]
    assert port["properties"]["protocol"] == {
        "type": "string",
        "enum": ["TCP", "UDP", "SCTP"],
        "default": "TCP",
    }
    assert port["properties"]["port"]["description"] == "The port clients connect to."
    assert schemas["io.ambimesh.core.v1.Pod"]["x-kubernetes-group-version-kind"] == [
        {"group": "", "version": "v1", "kind": "Pod"}
    ]
