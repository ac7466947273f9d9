"""Paths, selectors, discovery: what a request is about."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.apiserver.http.message import warning_headers
from ambimesh.local.apiserver.http.negotiate import parse_object
from ambimesh.local.apiserver.http.route import Target, parse
from ambimesh.local.apiserver.selectors import from_object, parse_fields, parse_labels
from ambimesh.local.apiserver.status import StatusError
from ambimesh.local.apiserver.store.entry import Entry, Key
from support.apiserver_core import Api, running_api

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server of this test alone."""
    async with running_api(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/pods", Target(group="", version="v1", resource="pods")),
        (
            "/api/v1/namespaces/n/pods/p/log",
            Target(group="", version="v1", resource="pods", namespace="n", name="p", door="log"),
        ),
        (
            "/api/v1/namespaces/n/finalize",
            Target(group="", version="v1", resource="namespaces", name="n", door="finalize"),
        ),
        ("/api/v1/namespaces/n", Target(group="", version="v1", resource="namespaces", name="n")),
        (
            "/apis/apps/v1/namespaces/n/deployments/d",
            Target(group="apps", version="v1", resource="deployments", namespace="n", name="d"),
        ),
        ("/api/v1", None),
        ("/apis/apps/v1", None),
        ("/version", None),
        ("/api/v1/namespaces/n/pods/p/log/x", None),
        ("/api/v1/namespaces//pods", None),
    ],
)
def test_path_is_read(path: str, target: Target | None) -> None:
    """Namespaces are both a resource and a place."""
    assert parse(path) == target


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (x, y)", {"a": "y"}, True),
        ("a in (x,y)", {}, False),
        ("a notin (x,y)", {}, True),
        ("a notin (x,y)", {"a": "x"}, False),
        ("example.com/a", {"example.com/a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a=b,c in (d,e),!f", {"a": "b", "c": "e"}, True),
        ("a=", {"a": ""}, True),
    ],
)
def test_label_selector_matches(text: str, labels: dict[str, str], matches: bool) -> None:
    """All forms of requirement, alone and together."""
    assert parse_labels(text).matches(labels) is matches


@pytest.mark.parametrize("text", ["a===b", "a in x", "=", "a b", "a in (x"])
def test_label_selector_with_bad_syntax_is_refused(text: str) -> None:
    """What cannot be parsed is said, never taken for everything."""
    with pytest.raises(StatusError, match="unable to parse requirement"):
        parse_labels(text)


@given(st.text(max_size=60))
def test_any_text_is_a_selector_or_refused(text: str) -> None:
    """Selectors and paths come from outside: nothing but the one error."""
    parse(text)
    try:
        parse_labels(text).matches({"a": "b"})
        parse_fields(text, ("spec.nodeName",))
    except StatusError:
        return


def test_selector_object_is_read() -> None:
    """matchLabels and matchExpressions hold together."""
    selector = from_object(
        {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "Exists"}]}
    )

    assert selector.matches({"a": "b", "c": ""})
    assert not selector.matches({"a": "b"})


def test_field_selector_compares_text() -> None:
    """Names, namespaces and selectable fields; an absent one is empty."""
    data = b'{"metadata":{},"spec":{"nodeName":"n1"}}'
    entry = Entry(Key("ns", "p"), 1, data, ("spec.nodeName",))
    allowed = ("spec.nodeName", "status.phase")

    found = [
        parse_fields(text, allowed).matches(entry)
        for text in (
            "metadata.name=p,metadata.namespace=ns",
            "spec.nodeName!=",
            "spec.nodeName=n2",
            "status.phase=",
        )
    ]

    assert found == [True, True, False, True]
    with pytest.raises(StatusError, match=r"field label not supported: spec\.x"):
        parse_fields("spec.x=1", allowed)


def test_warnings_are_quoted() -> None:
    """A quote in a warning does not end it, a line break does not begin a header."""
    assert warning_headers(('a "b"\nc',)) == (("warning", '299 - "a \\"b\\" c"'),)


def test_yaml_body_becomes_what_json_could_say() -> None:
    """Dates of YAML are text for us."""
    assert parse_object(b"a: 2026-01-02\n", "application/yaml", "X") == {"a": "2026-01-02"}
    with pytest.raises(StatusError, match="unrecognized"):
        parse_object(b"a: [", "application/yaml", "X")


async def test_discovery_is_aggregated_and_legacy(api: Api) -> None:
    """Both forms list the same resources; the aggregated one says so in its type."""
    groups = await api.call("GET", "/apis", accept=AGGREGATED)
    legacy = (await api.call("GET", "/apis")).body
    resources = (await api.call("GET", "/apis/apps/v1")).body["resources"]

    apps = next(item for item in groups.body["items"] if item["metadata"].get("name") == "apps")
    aggregated = {item["resource"] for item in apps["versions"][0]["resources"]}
    assert groups.headers["content-type"] == AGGREGATED
    assert {group["name"] for group in legacy["groups"]} >= {"apps", "security.istio.io"}
    assert {item["name"] for item in resources if "/" not in item["name"]} == aggregated


async def test_discovery_is_not_sent_twice(api: Api) -> None:
    """A client that has it hears 304."""
    first = await api.call("GET", "/api", accept=AGGREGATED)

    again = await api.call("GET", "/api", accept=AGGREGATED, if_none_match=first.headers["etag"])

    assert (again.status, again.data) == (304, b"")


async def test_every_openapi_document_of_the_index_is_there(api: Api) -> None:
    """The index names documents that exist and may be kept for ever."""
    index = (await api.call("GET", "/openapi/v3")).body["paths"]

    for place in index.values():
        document = await api.call("GET", place["serverRelativeURL"])
        assert document.status == 200
        assert "immutable" in document.headers["cache-control"]
    assert (await api.call("GET", "/openapi/v2")).status == 404


async def test_health_and_version_need_no_token(api: Api) -> None:
    """Whoever asks whether the server lives gets an answer; nothing else is said."""
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert (await api.call("GET", path, token="")).status == 200
    assert (await api.call("GET", "/api", token="")).status == 401
