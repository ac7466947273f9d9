"""Lists and watches, in process: whoever lists and then watches knows the final state."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ambimesh.local.apiserver.store.history import History
from support.apiserver_core import Api, running_api

MAPS = "/api/v1/namespaces/default/configmaps"
ALL = "/api/v1/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
MERGE = "application/merge-patch+json"

Objects = dict[str, dict[str, Any]]


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server of this test alone."""
    async with running_api(tmp_path) as running:
        yield running


async def _create(api: Api, name: str, label: str = "x") -> int:
    body = {"metadata": {"name": name, "labels": {"l": label}}}
    created = await api.call("POST", MAPS, body)
    assert created.status == 201, created.data
    return int(created.body["metadata"]["resourceVersion"])


async def _label(api: Api, name: str, label: str) -> None:
    patch = {"metadata": {"labels": {"l": label}}}
    assert (await api.call("PATCH", f"{MAPS}/{name}", patch, content_type=MERGE)).status == 200


def _names(listed: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_pages_show_the_state_of_the_first(api: Api) -> None:
    """What comes and goes between pages is not seen, and nothing is seen twice."""
    for number in range(5):
        await _create(api, f"m{number}")
    first = (await api.call("GET", f"{MAPS}?limit=2&labelSelector=l")).body
    await api.call("DELETE", f"{MAPS}/m4")
    await _create(api, "m2a")

    names, token = _names(first), first["metadata"]["continue"]
    while token:
        query = f"limit=2&labelSelector=l&continue={quote(token)}"
        page = (await api.call("GET", f"{MAPS}?{query}")).body
        names += _names(page)
        token = page["metadata"].get("continue")
        assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]

    assert names == [f"m{number}" for number in range(5)]


async def test_remaining_count_only_without_selectors(api: Api) -> None:
    """How many follow is told when it is known without looking."""
    for number in range(3):
        await _create(api, f"m{number}")

    plain = (await api.call("GET", f"{MAPS}?limit=1")).body["metadata"]
    selected = (await api.call("GET", f"{MAPS}?limit=1&labelSelector=l")).body["metadata"]

    assert plain["remainingItemCount"] == 3  # with the root certificate
    assert "remainingItemCount" not in selected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("continue=nonsense", 400),
        ("continue=WyJ4IiwgMV0=", 410),
        ("limit=-1", 400),
        ("resourceVersion=x", 400),
        ("resourceVersion=999999999", 504),
        ("resourceVersion=1&resourceVersionMatch=Exact", 410),
        ("resourceVersionMatch=Exact", 422),
        ("labelSelector=a%3D%3D%3Db", 400),
        ("fieldSelector=data.x%3D1", 400),
        ("includeObject=Nonsense", 400),
        ("watch=true&sendInitialEvents=true", 422),
        ("watch=true&resourceVersionMatch=NotOlderThan", 422),
    ],
)
async def test_list_with_an_impossible_wish_is_refused(api: Api, query: str, code: int) -> None:
    """Each has the code that clients act on."""
    assert (await api.call("GET", f"{MAPS}?{query}")).status == code


async def test_list_in_other_forms(api: Api) -> None:
    """Tables and metadata only, as the client accepts; nothing acceptable is 406."""
    await _create(api, "a")

    table = (await api.call("GET", f"{MAPS}?labelSelector=l", accept=TABLE)).body
    partial = (
        await api.call(
            "GET",
            f"{MAPS}/a",
            accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
        )
    ).body
    refused = await api.call("GET", MAPS, accept="text/html")

    assert (table["kind"], len(table["rows"])) == ("Table", 1)
    assert table["rows"][0]["cells"][0] == "a"
    assert partial["kind"] == "PartialObjectMetadata"
    assert refused.status == 406


async def test_large_list_lets_others_have_their_turn(api: Api) -> None:
    """While thousands of objects are sent, the loop goes on turning."""
    await asyncio.gather(*(_create(api, f"m{number:05}") for number in range(4500)))
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as group:
        turning = group.create_task(turn())
        await asyncio.sleep(0)
        before = turns
        listed = await api.call("GET", MAPS)
        during = turns - before
        turning.cancel()

    assert len(json.loads(listed.data)["items"]) == 4501
    assert during >= 2


async def test_watch_from_a_version_gives_what_came_after(api: Api) -> None:
    """Nothing before the version, everything after it, deletions with the last state."""
    version = await _create(api, "before")
    await _create(api, "a")
    await _label(api, "a", "y")
    await api.call("DELETE", f"{MAPS}/a")

    seen = []
    async with api.watch(f"{MAPS}?watch=true&resourceVersion={version}") as events:
        async for event in events:
            metadata = event["object"]["metadata"]
            seen.append((event["type"], metadata["name"], metadata["labels"]["l"]))
            if event["type"] == "DELETED":
                break

    assert seen == [("ADDED", "a", "x"), ("MODIFIED", "a", "y"), ("DELETED", "a", "y")]


async def test_watch_with_selector_adds_and_deletes_what_changes_sides(api: Api) -> None:
    """An object that stops matching is deleted for this watcher, one that starts is added."""
    version = await _create(api, "a", "no")
    await _label(api, "a", "yes")
    await _label(api, "a", "no")

    path = f"{MAPS}?watch=true&labelSelector=l%3Dyes&resourceVersion={version}"
    async with api.watch(path) as events:
        kinds = [(await anext(events))["type"] for _ in range(2)]

    assert kinds == ["ADDED", "DELETED"]


async def test_watch_list_ends_with_its_bookmark_also_when_empty(api: Api) -> None:
    """kubectl 1.35 waits for the annotation, however little there is."""
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    query += "&allowWatchBookmarks=true&labelSelector=l%3Dnone"

    async with api.watch(f"{MAPS}?{query}") as events:
        event = await anext(events)

    assert event["type"] == "BOOKMARK"
    assert event["object"]["kind"] == "ConfigMap"
    assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert int(event["object"]["metadata"]["resourceVersion"]) == api.registry.store.version


async def test_watch_of_a_lost_version_is_an_error_event(api: Api) -> None:
    """410 comes as an event of an answer that is 200, and ends it; also for the future."""
    _forget_history(api)
    for version in (1, 10**12):
        async with api.watch(f"{MAPS}?watch=true&resourceVersion={version}") as events:
            found = [event async for event in events]

        assert [event["type"] for event in found] == ["ERROR"]
        assert found[0]["object"]["code"] == 410
        assert found[0]["object"]["reason"] == "Expired"


async def test_watch_ends_cleanly_at_its_timeout(api: Api) -> None:
    """The client said how long; then the stream just ends."""
    version = api.registry.store.version

    async with api.watch(f"{MAPS}?watch=true&timeoutSeconds=1&resourceVersion={version}") as events:
        found = [event async for event in events]

    assert found == []


async def test_watch_as_table_has_one_row_an_event(api: Api) -> None:
    """`kubectl get -w` prints rows."""
    await _create(api, "a")

    async with api.watch(f"{MAPS}?watch=true&labelSelector=l", accept=TABLE) as events:
        event = await anext(events)

    assert event["object"]["kind"] == "Table"
    assert event["object"]["rows"][0]["cells"][0] == "a"


async def test_watch_in_another_version_shows_that_version(api: Api) -> None:
    """An object written as v1 is watched as v1beta1."""
    base = "/apis/security.istio.io/{}/namespaces/default/peerauthentications"
    await api.call("POST", base.format("v1"), {"metadata": {"name": "p"}})

    async with api.watch(base.format("v1beta1") + "?watch=true") as events:
        event = await anext(events)

    assert event["object"]["apiVersion"] == "security.istio.io/v1beta1"


class _Follower:
    """A client that lists in pages, watches, and lists again when it hears 410."""

    def __init__(self, api: Api, selector: str) -> None:
        self._api = api
        self._selector = selector
        self._version = ""
        self.objects: Objects = {}

    async def list(self) -> None:
        """Read everything in pages of two; from the start when the pages expire."""
        objects: Objects = {}
        query, token = f"{ALL}?limit=2{self._selector}", ""
        while True:
            page = await self._api.call(
                "GET", query + (f"&continue={quote(token)}" if token else "")
            )
            if page.status == 410:
                objects, token = {}, ""
                continue
            body = page.body
            objects |= {item["metadata"]["name"]: item for item in body["items"]}
            token = body["metadata"].get("continue", "")
            if not token:
                break
        self.objects, self._version = objects, body["metadata"]["resourceVersion"]

    async def catch_up(self, version: int) -> None:
        """Watch until everything up to a version has been seen."""
        while int(self._version) < version:
            query = f"?watch=true&allowWatchBookmarks=true&timeoutSeconds=1{self._selector}"
            path = f"{ALL}{query}&resourceVersion={self._version}"
            async with self._api.watch(path) as events:
                is_lost = await self._follow(events, version)
            if is_lost:
                await self.list()
            elif int(self._version) < version:
                await self.list()  # the rest is about what this watcher does not select

    async def _follow(self, events: AsyncIterator[dict[str, Any]], version: int) -> bool:
        async for event in events:
            if event["type"] == "ERROR":
                return True
            obj = event["object"]
            name = obj["metadata"].get("name")
            if event["type"] == "DELETED":
                self.objects.pop(name, None)
            elif event["type"] in ("ADDED", "MODIFIED"):
                self.objects[name] = obj
            self._version = obj["metadata"]["resourceVersion"]
            if int(self._version) >= version:
                break
        return False


_STEP = st.tuples(
    st.sampled_from(["put", "put", "delete", "list", "follow", "forget"]),
    st.sampled_from(["a", "b", "c", "d", "e"]),
    st.sampled_from(["x", "y"]),
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(_STEP, max_size=25), st.sampled_from(["", "&labelSelector=l%3Dx"]))
def test_list_and_watch_give_the_final_state(
    steps: list[tuple[str, str, str]], selector: str
) -> None:
    """Under random writes, with pages and lost history between, a follower ends up right."""
    asyncio.run(_follow_random_writes(steps, selector))


async def _follow_random_writes(steps: list[tuple[str, str, str]], selector: str) -> None:
    with TemporaryDirectory() as folder:
        async with running_api(Path(folder)) as api:
            follower = _Follower(api, selector)
            await follower.list()
            for step, name, label in steps:
                await _take(api, follower, step, name, label)

            # One more write that everybody selects, so that there is something to wait for.
            await _take(api, follower, "put", "last", "x")
            await follower.catch_up(api.registry.store.version)

            expected = (await api.call("GET", f"{ALL}?{selector.lstrip('&')}")).body["items"]
            assert follower.objects == {item["metadata"]["name"]: item for item in expected}


async def _take(api: Api, follower: _Follower, step: str, name: str, label: str) -> None:
    match step:
        case "put":
            body = {"metadata": {"name": name, "labels": {"l": label}}}
            if (await api.call("POST", MAPS, body)).status == 409:
                await _label(api, name, label)
        case "delete":
            await api.call("DELETE", f"{MAPS}/{name}")
        case "list":
            await follower.list()
        case "follow":
            await follower.catch_up(api.registry.store.version)
        case _:
            _forget_history(api)


def _forget_history(api: Api) -> None:
    """Lose the past, as a restart does."""
    shelf = api.registry.store.shelves["configmaps"]
    if shelf.history.floor < api.registry.store.version:
        shelf.history = History(api.registry.store.version)
