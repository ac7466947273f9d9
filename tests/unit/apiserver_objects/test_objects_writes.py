"""Creating and changing objects over HTTP, in process: what is kept, refused and told."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.apiserver_core import Api, running_api

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server of this test alone."""
    async with running_api(tmp_path) as running:
        yield running


def _map(name: str = "a", **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "data": data}


def _pod(**spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "x"}]
    return {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


async def test_create_gives_identity_and_version(api: Api) -> None:
    """A new object has all that the server decides."""
    created = await api.call("POST", MAPS, _map(x="1"))

    metadata = created.body["metadata"]
    assert created.status == 201
    assert created.body["apiVersion"] == "v1"
    assert metadata["namespace"] == "default"
    assert metadata["uid"]
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) == api.registry.store.version


async def test_create_with_prefix_makes_a_name(api: Api) -> None:
    """generateName gives names that differ."""
    body = {"metadata": {"generateName": "m-"}}

    names = {(await api.call("POST", MAPS, body)).body["metadata"]["name"] for _ in range(3)}

    assert len(names) == 3
    assert all(name.startswith("m-") for name in names)


@pytest.mark.parametrize(
    ("path", "body", "code", "message"),
    [
        (MAPS, {"metadata": {}}, 422, "name or generateName is required"),
        (MAPS, {"kind": "Secret", "metadata": {"name": "a"}}, 400, "do not match the expected"),
        (MAPS, {"metadata": {"name": "a", "namespace": "x"}}, 400, "does not match the namespace"),
        (MAPS, {"metadata": {"name": "a", "resourceVersion": "1"}}, 400, "should not be set"),
        (MAPS, {"metadata": {"name": "a"}, "data": 1}, 400, "data in body must be of type object"),
        (MAPS, {"metadata": 1}, 400, "metadata: must be of type object"),
        (MAPS, b"{", 400, "the object provided is unrecognized (must be of type ConfigMap)"),
        (MAPS, b"[]", 400, "not an object"),
        ("/api/v1/namespaces/no/configmaps", _map(), 404, 'namespaces "no" not found'),
        ("/api/v1/namespaces/default/nothing", _map(), 404, "could not find the requested resource"),
        (PODS, _pod(serviceAccountName="no"), 403, 'serviceaccount "no" not found'),
    ],
)  # fmt: skip
async def test_create_refuses_in_kubernetes_words(
    api: Api, path: str, body: object, code: int, message: str
) -> None:
    """Every refusal is a Status with a message that names what is wrong."""
    refused = await api.call("POST", path, body)

    assert (refused.status, refused.body["kind"]) == (code, "Status")
    assert message in refused.body["message"]


async def test_create_twice_already_exists(api: Api) -> None:
    """The second of the same name is refused, with its own reason."""
    await api.call("POST", MAPS, _map())

    refused = await api.call("POST", MAPS, _map())

    assert refused.body["message"] == 'configmaps "a" already exists'
    assert (refused.status, refused.body["reason"]) == (409, "AlreadyExists")


async def test_put_replaces_and_guards_the_version(api: Api) -> None:
    """A PUT with an old version is a conflict; the present one, or none, is taken."""
    first = (await api.call("POST", MAPS, _map(x="1"))).body
    changed = (await api.call("PUT", f"{MAPS}/a", {**first, "data": {"y": "2"}})).body

    stale = await api.call("PUT", f"{MAPS}/a", {**first, "data": {"z": "3"}})
    blind = await api.call("PUT", f"{MAPS}/a", _map(w="4"))

    assert changed["data"] == {"y": "2"}
    assert changed["metadata"]["uid"] == first["metadata"]["uid"]
    assert stale.status == 409
    assert "the object has been modified" in stale.body["message"]
    assert blind.body["data"] == {"w": "4"}


async def test_put_of_what_is_absent_creates_only_some_kinds(api: Api) -> None:
    """Leases come into being by PUT, config maps do not."""
    lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l"

    created = await api.call("PUT", lease, {"metadata": {"name": "l"}, "spec": {}})
    refused = await api.call("PUT", f"{MAPS}/a", _map())

    assert created.status == 201
    assert refused.status == 404


async def test_change_that_changes_nothing_takes_no_version(api: Api) -> None:
    """No new version, no event."""
    before = (await api.call("POST", MAPS, _map(x="1"))).body
    version = api.registry.store.version

    after = await api.call("PATCH", f"{MAPS}/a", {"data": {"x": "1"}}, content_type=MERGE)

    assert after.body == before
    assert api.registry.store.version == version


async def test_fixed_metadata_is_restored(api: Api) -> None:
    """What only the server decides is silently as before."""
    before = (await api.call("POST", MAPS, _map(x="1"))).body["metadata"]

    patch = {"metadata": {"creationTimestamp": "2000-01-01T00:00:00Z", "labels": {"a": "b"}}}
    after = (await api.call("PATCH", f"{MAPS}/a", patch, content_type=MERGE)).body["metadata"]

    assert after["creationTimestamp"] == before["creationTimestamp"]
    assert after["labels"] == {"a": "b"}


@pytest.mark.parametrize(
    ("content_type", "patch", "code"),
    [
        (MERGE, b"{", 400),
        (MERGE, b"[]", 422),
        ("application/json-patch+json", b'[{"op":"test","path":"/data/x","value":"2"}]', 422),
        ("text/plain", b"", 415),
        (MERGE, b'{"metadata":{"name":"b"}}', 400),
        (MERGE, b'{"data":{"x":1}}', 400),
    ],
)
async def test_patch_that_does_not_fit_is_refused(
    api: Api, content_type: str, patch: bytes, code: int
) -> None:
    """Bad syntax, a failed test, an unknown type, another name, a wrong type."""
    await api.call("POST", MAPS, _map(x="1"))

    refused = await api.call("PATCH", f"{MAPS}/a", patch, content_type=content_type)

    assert refused.status == code, refused.data
    assert (await api.call("GET", f"{MAPS}/a")).body["data"] == {"x": "1"}


async def test_status_has_a_door_of_its_own(api: Api) -> None:
    """Each door changes its half and leaves the other; the generation counts only the spec."""
    await api.call("POST", PODS, {**_pod(), "status": {"phase": "Failed"}})
    main = {"metadata": {"labels": {"a": "b"}}, "status": {"phase": "Running"}}
    side = {"metadata": {"labels": {"c": "d"}}, "status": {"phase": "Running"}}

    by_main = (await api.call("PATCH", f"{PODS}/p", main, content_type=MERGE)).body
    by_side = (await api.call("PATCH", f"{PODS}/p/status", side, content_type=MERGE)).body

    assert by_main["status"]["phase"] == "Pending"
    assert by_main["metadata"]["labels"] == {"a": "b"}
    assert by_side["metadata"]["labels"] == {"a": "b", "c": "d"}  # agents label what they report
    assert by_side["status"]["phase"] == "Running"
    assert by_side["metadata"]["generation"] == by_main["metadata"]["generation"] == 1


async def test_pod_spec_is_fixed_but_for_its_image(api: Api) -> None:
    """A pod cannot become another program; a new image is the one thing it may get."""
    await api.call("POST", PODS, _pod())
    node = {"spec": {"nodeName": "n"}}
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "y"}]

    refused = await api.call("PATCH", f"{PODS}/p", node, content_type=MERGE)
    taken = await api.call("PATCH", f"{PODS}/p", image, content_type="application/json-patch+json")

    assert refused.status == 422
    assert "pod updates may not change fields other than" in refused.body["message"]
    assert taken.status == 200


async def test_binding_puts_a_pod_on_a_node_once(api: Api) -> None:
    """A bound pod is not bound elsewhere."""
    await api.call("POST", PODS, _pod())

    first = await api.call("POST", f"{PODS}/p/binding", {"target": {"name": "n1"}})
    second = await api.call("POST", f"{PODS}/p/binding", {"target": {"name": "n2"}})

    pod = (await api.call("GET", f"{PODS}/p")).body
    assert (first.status, second.status) == (201, 409)
    assert pod["spec"]["nodeName"] == "n1"
    assert pod["status"]["conditions"][0]["type"] == "PodScheduled"


async def test_immutable_map_stays_as_it_is(api: Api) -> None:
    """Once immutable, always immutable."""
    await api.call("POST", MAPS, {**_map(x="1"), "immutable": True})

    refused = await api.call("PATCH", f"{MAPS}/a", {"data": {"x": "2"}}, content_type=MERGE)

    assert refused.status == 422
    assert "field is immutable when `immutable` is set" in refused.body["message"]


async def test_secret_text_becomes_data(api: Api) -> None:
    """stringData is written in base64 and never stored as such."""
    body = {"metadata": {"name": "s"}, "stringData": {"a": "b"}}

    created = (await api.call("POST", "/api/v1/namespaces/default/secrets", body)).body

    assert created["data"] == {"a": "Yg=="}
    assert created["type"] == "Opaque"
    assert "stringData" not in created


async def test_service_addresses_survive_a_replacement(api: Api) -> None:
    """A manifest without addresses keeps those that were given; others are refused."""
    path = "/api/v1/namespaces/default/services"
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    before = (await api.call("POST", path, body)).body["spec"]

    after = (await api.call("PUT", f"{path}/s", body)).body["spec"]
    moved = await api.call(
        "PATCH", f"{path}/s", {"spec": {"clusterIP": "198.19.9.9"}}, content_type=MERGE
    )

    assert after["clusterIPs"] == before["clusterIPs"]
    assert moved.status == 422


async def test_apply_creates_then_owns_then_conflicts(api: Api) -> None:
    """Server-side apply: new, unchanged, taken from others only by force."""
    path = f"{MAPS}/a"
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "1"}}
    other = {**config, "data": {"x": "2"}}

    async def apply(query: str, body: object) -> Any:
        return await api.call("PATCH", f"{path}?{query}", body, content_type=APPLY)

    created = await apply("fieldManager=one", config)
    again = await apply("fieldManager=one", config)
    refused = await apply("fieldManager=two", other)
    forced = await apply("fieldManager=two&force=true", other)
    nameless = await apply("", config)

    assert (created.status, again.status, refused.status, forced.status) == (201, 200, 409, 200)
    assert again.body == created.body
    assert refused.body["message"] == ('Apply failed with 1 conflict: conflict with "one": .data.x')
    assert refused.body["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    assert forced.body["data"] == {"x": "2"}
    assert nameless.status == 400


async def test_apply_of_a_wrong_type_names_the_path(api: Api) -> None:
    """A part of an object is checked for types before it is laid over anything."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": 1}}

    refused = await api.call("PATCH", f"{MAPS}/a?fieldManager=m", config, content_type=APPLY)

    assert refused.status == 400
    assert "data.x in body must be of type string" in refused.body["message"]


async def test_unknown_fields_by_validation(api: Api) -> None:
    """Strict refuses, Warn tells and keeps, Ignore keeps; a later patch does not tell again."""
    policies = "/apis/security.istio.io/v1/namespaces/default/authorizationpolicies"
    body = {"metadata": {"name": "p"}, "spec": {"bogus": 1}}

    strict = await api.call("POST", f"{policies}?fieldValidation=Strict", body)
    warned = await api.call("POST", policies, body)
    label = {"metadata": {"labels": {"a": "b"}}}
    later = await api.call("PATCH", f"{policies}/p", label, content_type=MERGE)

    assert strict.status == 400
    assert 'strict decoding error: unknown field "spec.bogus"' in strict.body["message"]
    assert warned.headers["warning"] == '299 - "unknown field \\"spec.bogus\\""'
    assert later.body["spec"] == {"bogus": 1}
    assert "warning" not in later.headers


async def test_repeated_field_is_refused_under_strict(api: Api) -> None:
    """A field said twice is a mistake, which a plain decoder would hide."""
    body = b'{"metadata":{"name":"a"},"data":{"a":"1","a":"2"}}'

    refused = await api.call("POST", f"{MAPS}?fieldValidation=Strict", body)

    assert 'duplicate field "data.a"' in refused.body["message"]


async def test_dry_run_writes_nothing(api: Api) -> None:
    """The answer is what would be; nothing is there afterwards."""
    told = await api.call("POST", f"{MAPS}?dryRun=All", _map(x="1"))
    kept = (await api.call("POST", MAPS, _map("b", x="1"))).status
    deleted = await api.call("DELETE", f"{MAPS}/b?dryRun=All")

    assert (told.status, kept, deleted.status) == (201, 201, 200)
    assert (await api.call("GET", f"{MAPS}/a")).status == 404
    assert (await api.call("GET", f"{MAPS}/b")).status == 200


async def test_finalizer_holds_and_releases(api: Api) -> None:
    """Deleting marks; the last finalizer that goes takes the object along."""
    body = {"metadata": {"name": "a", "finalizers": ["x/y"]}}
    await api.call("POST", MAPS, body)

    marked = await api.call("DELETE", f"{MAPS}/a")
    more = {"metadata": {"finalizers": ["x/y", "x/z"]}}
    kept = await api.call("PATCH", f"{MAPS}/a", more, content_type=MERGE)
    none = {"metadata": {"finalizers": None}}
    await api.call("PATCH", f"{MAPS}/a", none, content_type=MERGE)

    assert "deletionTimestamp" in marked.body["metadata"]
    assert kept.body["metadata"]["finalizers"] == ["x/y"]
    assert (await api.call("GET", f"{MAPS}/a")).status == 404


async def test_object_is_the_same_in_every_version(api: Api) -> None:
    """Written as v1beta1, read as v1, patched as v1beta1: one object."""
    base = "/apis/security.istio.io/{}/namespaces/default/authorizationpolicies"
    old, new = base.format("v1beta1"), base.format("v1")

    created = await api.call("POST", old, {"metadata": {"name": "p"}, "spec": {"action": "DENY"}})
    read = await api.call("GET", f"{new}/p")
    spec = {"spec": {"action": "ALLOW"}}
    patched = await api.call("PATCH", f"{old}/p", spec, content_type=MERGE)
    listed = (await api.call("GET", old)).body

    assert created.body["apiVersion"] == "security.istio.io/v1beta1"
    assert read.body["apiVersion"] == "security.istio.io/v1"
    assert patched.body["metadata"]["uid"] == read.body["metadata"]["uid"]
    assert listed["apiVersion"] == "security.istio.io/v1beta1"
    assert listed["items"][0]["apiVersion"] == "security.istio.io/v1beta1"


async def test_scale_reads_and_writes_the_number(api: Api) -> None:
    """The scale of a deployment is an object of its own."""
    path = "/apis/apps/v1/namespaces/default/deployments"
    labels = {"app": "w"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    spec = {"replicas": 0, "selector": {"matchLabels": labels}, "template": template}
    await api.call("POST", path, {"metadata": {"name": "w"}, "spec": spec})

    before = (await api.call("GET", f"{path}/w/scale")).body
    body = {"spec": {"replicas": 2}}
    after = (await api.call("PATCH", f"{path}/w/scale", body, content_type=MERGE)).body
    refused = await api.call("PUT", f"{path}/w/scale", {"spec": {"replicas": -1}})

    assert (before["kind"], before["spec"]["replicas"]) == ("Scale", 0)
    assert before["status"]["selector"] == "app=w"
    assert after["spec"]["replicas"] == 2
    assert refused.status == 422


async def test_delete_answers_as_kubernetes_does(api: Api) -> None:
    """A Status with the uid for most kinds, the object for some."""
    created = (await api.call("POST", MAPS, _map())).body
    await api.call("POST", PODS, _pod())

    by_map = (await api.call("DELETE", f"{MAPS}/a")).body
    by_pod = (await api.call("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})).body
    absent = await api.call("DELETE", f"{MAPS}/a")
    wrong = await api.call("DELETE", f"{MAPS}/a", {"gracePeriodSeconds": "x"})

    assert by_map["status"] == "Success"
    assert by_map["details"]["uid"] == created["metadata"]["uid"]
    assert by_pod["kind"] == "Pod"
    assert (absent.status, wrong.status) == (404, 400)


async def test_namespaces_of_the_mesh_cannot_be_deleted(api: Api) -> None:
    """Without them nothing works; the refusal is Kubernetes' own."""
    for name in ("default", "istio-system"):
        refused = await api.call("DELETE", f"/api/v1/namespaces/{name}")

        assert refused.status == 403
        assert refused.body["message"] == (
            f'namespaces "{name}" is forbidden: this namespace may not be deleted'
        )


async def test_delete_collection_takes_what_is_selected(api: Api) -> None:
    """Deleting a collection goes by selector and tells what went."""
    for name, label in (("a", "x"), ("b", "y")):
        body = {"metadata": {"name": name, "labels": {"l": label}}}
        await api.call("POST", MAPS, body)

    answer = (await api.call("DELETE", f"{MAPS}?labelSelector=l%3Dx")).body

    assert [item["metadata"]["name"] for item in answer["items"]] == ["a"]
    assert (await api.call("GET", f"{MAPS}/b")).status == 200


async def test_large_body_is_refused(api: Api) -> None:
    """A body beyond the limit is not read into memory."""
    refused = await api.call("POST", MAPS, b" " * (4 << 20))

    assert (refused.status, refused.body["reason"]) == (413, "RequestEntityTooLarge")


async def test_methods_that_a_path_has_not(api: Api) -> None:
    """Verbs that do not exist are 405, doors that do not exist 404."""
    found = [
        (await api.call(*request)).status
        for request in (
            ("POST", f"{MAPS}/a", _map()),
            ("PUT", MAPS, _map()),
            ("POST", "/api/v1/configmaps", _map()),
            ("GET", f"{MAPS}/a/status"),
            ("POST", "/api/v1/namespaces/default/resourcequotas", _map()),
            ("GET", "/api/v1/namespaces/default/nodes"),
            ("GET", "/api/v1/configmaps/a"),
        )
    ]

    assert found == [405, 405, 405, 404, 405, 404, 404]
