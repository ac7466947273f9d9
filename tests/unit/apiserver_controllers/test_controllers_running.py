"""Controllers at work: owners, namespaces, slices, deployments and places, in process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ambimesh.local.apiserver.controllers.events import EventExpiry
from ambimesh.local.apiserver.controllers.loop import ControllerLoop, Reconciler
from ambimesh.local.apiserver.objects.options import timestamp
from ambimesh.local.apiserver.store.entry import Event, Key
from ambimesh.local.apiserver.store.sqlite import Database, DatabaseError
from support.apiserver import READY_NODE, running
from support.apiserver_core import Api, running_api

CORE = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
MERGE = "application/merge-patch+json"
LABELS = {"app": "w"}


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    """A server with two ready nodes."""
    async with running_api(tmp_path) as started:
        for name in ("node-1", "node-2"):
            await _create(started, "/api/v1/nodes", {"metadata": {"name": name}})
            await _patch(started, f"/api/v1/nodes/{name}/status", READY_NODE)
        yield started


async def _create(api: Api, path: str, body: dict[str, Any]) -> dict[str, Any]:
    created = await api.call("POST", path, body)
    assert created.status == 201, created.data
    return created.body


async def _patch(api: Api, path: str, body: dict[str, Any]) -> None:
    patched = await api.call("PATCH", path, body, content_type=MERGE)
    assert patched.status == 200, patched.data


async def _until(
    api: Api, path: str, holds: Callable[[dict[str, dict[str, Any]]], bool]
) -> dict[str, dict[str, Any]]:
    """Watch a collection until something holds of it; gives it by name."""
    found: dict[str, dict[str, Any]] = {}
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
    is_complete = False
    async with asyncio.timeout(20), api.watch(f"{path}?{query}") as events:
        async for event in events:
            obj = event["object"]
            match event["type"]:
                case "BOOKMARK":
                    is_complete = True
                case "DELETED":
                    found.pop(obj["metadata"]["name"], None)
                case _:
                    found[obj["metadata"]["name"]] = obj
            if is_complete and holds(found):
                return found
    raise AssertionError(found)


def _reference(owner: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = owner["metadata"]
    return {
        "apiVersion": "v1", "kind": "ConfigMap", "name": metadata["name"], "uid": metadata["uid"],
        **more,
    }  # fmt: skip


def _deployment(image: str = "x", **spec: Any) -> dict[str, Any]:
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "c", "image": image}]},
    }
    given = {"replicas": 2, "selector": {"matchLabels": LABELS}, "template": template}
    return {"metadata": {"name": "w"}, "spec": {**given, **spec}}


async def _run_pods(api: Api, pods: dict[str, dict[str, Any]]) -> None:
    """Say of pods that they run and are ready."""
    for number, (name, pod) in enumerate(sorted(pods.items())):
        if pod["status"].get("phase") != "Running":
            status = running(pod, f"198.18.1.{number + 10}")
            await _patch(api, f"{CORE}/pods/{name}/status", status)


async def test_dependants_go_with_their_only_owner(api: Api) -> None:
    """Also those of dependants; what has another owner stays and forgets the one that went."""
    maps = f"{CORE}/configmaps"
    first = await _create(api, maps, {"metadata": {"name": "first"}})
    other = await _create(api, maps, {"metadata": {"name": "other"}})
    owned = {"name": "child", "ownerReferences": [_reference(first)]}
    child = await _create(api, maps, {"metadata": owned})
    below = {"name": "grandchild", "ownerReferences": [_reference(child)]}
    await _create(api, maps, {"metadata": below})
    both = {"name": "shared", "ownerReferences": [_reference(first), _reference(other)]}
    await _create(api, maps, {"metadata": both})

    await api.call("DELETE", f"{maps}/first")

    left = await _until(
        api,
        maps,
        lambda found: (
            not {"child", "grandchild"} & found.keys()
            and len(found["shared"]["metadata"]["ownerReferences"]) == 1
        ),
    )
    assert left["shared"]["metadata"]["ownerReferences"][0]["uid"] == other["metadata"]["uid"]


async def test_object_with_an_owner_that_never_was_is_collected(api: Api) -> None:
    """A reference to nothing is as good as a deleted owner."""
    ghost = {"metadata": {"name": "ghost", "uid": "no-such-uid"}}

    metadata = {"name": "child", "ownerReferences": [_reference(ghost)]}
    await _create(api, f"{CORE}/configmaps", {"metadata": metadata})

    await _until(api, f"{CORE}/configmaps", lambda found: "child" not in found)


async def test_foreground_waits_for_blocking_dependants(api: Api) -> None:
    """The owner is there until the dependant that blocks it has gone."""
    maps = f"{CORE}/configmaps"
    owner = await _create(api, maps, {"metadata": {"name": "owner"}})
    reference = _reference(owner, blockOwnerDeletion=True)
    held = {"name": "held", "ownerReferences": [reference], "finalizers": ["x/y"]}
    await _create(api, maps, {"metadata": held})

    await api.call("DELETE", f"{maps}/owner", {"propagationPolicy": "Foreground"})
    waiting = await _until(
        api, maps, lambda found: "deletionTimestamp" in found["held"]["metadata"]
    )
    await _patch(api, f"{maps}/held", {"metadata": {"finalizers": None}})

    assert waiting["owner"]["metadata"]["finalizers"] == ["foregroundDeletion"]
    await _until(api, maps, lambda found: not {"held", "owner"} & found.keys())


async def test_orphans_stay_without_their_owner(api: Api) -> None:
    """Dependants are released before the owner goes."""
    maps = f"{CORE}/configmaps"
    owner = await _create(api, maps, {"metadata": {"name": "owner"}})
    metadata = {"name": "child", "ownerReferences": [_reference(owner)]}
    await _create(api, maps, {"metadata": metadata})

    await api.call("DELETE", f"{maps}/owner", {"propagationPolicy": "Orphan"})

    left = await _until(api, maps, lambda found: "owner" not in found)
    assert "ownerReferences" not in left["child"]["metadata"]


async def test_namespace_has_its_companions_at_once_and_again(api: Api) -> None:
    """The next request may rely on them; deleted ones come back."""
    await _create(api, "/api/v1/namespaces", {"metadata": {"name": "n"}})
    account = await api.call("GET", "/api/v1/namespaces/n/serviceaccounts/default")
    root = "/api/v1/namespaces/n/configmaps"
    before = (await api.call("GET", f"{root}/kube-root-ca.crt")).body

    await api.call("DELETE", f"{root}/kube-root-ca.crt")

    after = await _until(api, root, lambda found: "kube-root-ca.crt" in found)
    assert account.status == 200
    assert after["kube-root-ca.crt"]["data"] == before["data"]
    assert after["kube-root-ca.crt"]["metadata"]["uid"] != before["metadata"]["uid"]


async def test_namespace_waits_for_its_content_and_takes_nothing_new(api: Api) -> None:
    """A finalizer in it holds it; creation is refused with its own cause."""
    await _create(api, "/api/v1/namespaces", {"metadata": {"name": "n"}})
    maps = "/api/v1/namespaces/n/configmaps"
    await _create(api, maps, {"metadata": {"name": "held", "finalizers": ["x/y"]}})

    marked = await api.call("DELETE", "/api/v1/namespaces/n")
    await _until(api, maps, lambda found: found.keys() == {"held"})
    refused = await api.call("POST", maps, {"metadata": {"name": "new"}})
    again = await api.call("POST", maps, {"metadata": {"name": "held"}})
    await _patch(api, f"{maps}/held", {"metadata": {"finalizers": None}})

    assert marked.body["status"]["phase"] == "Terminating"
    assert refused.status == again.status == 403
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    await _until(api, "/api/v1/namespaces", lambda found: "n" not in found)


async def test_slices_follow_pods_and_service(api: Api) -> None:
    """A ready pod appears, an unready one is told, a deleted service leaves nothing."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"selector": LABELS, "ports": ports, "ipFamilyPolicy": "PreferDualStack"}
    await _create(api, f"{CORE}/services", {"metadata": {"name": "s"}, "spec": spec})
    pod = {
        "metadata": {"name": "p", "labels": LABELS},
        "spec": {"containers": [{"name": "c", "image": "x"}]},
    }
    created = await _create(api, f"{CORE}/pods", pod)

    await _patch(api, f"{CORE}/pods/p/status", running(created, "198.18.1.10"))
    own = f"{SLICES}"

    def has(address: str) -> Callable[[dict[str, dict[str, Any]]], bool]:
        return lambda found: any(
            address in endpoint["addresses"] and endpoint["conditions"]["ready"]
            for each in found.values()
            for endpoint in each.get("endpoints") or ()
        )

    await _until(api, own, has("198.18.1.10"))
    await _until(api, own, has("fd98:616d:6269:1::10"))
    unready = {"conditions": [{"type": "Ready", "status": "False"}]}
    await _patch(api, f"{CORE}/pods/p/status", {"status": unready})
    await _until(api, own, lambda found: not has("198.18.1.10")(found))
    await api.call("DELETE", f"{CORE}/services/s")

    await _until(api, own, lambda found: found.keys() == {"kubernetes", "kubernetes-ipv6"})


async def test_slices_are_repaired_and_foreign_ones_left_alone(api: Api) -> None:
    """What someone changed in ours is put right; what others manage is theirs."""
    spec = {"selector": LABELS, "ports": [{"port": 80}]}
    await _create(api, f"{CORE}/services", {"metadata": {"name": "s"}, "spec": spec})
    foreign = {
        "metadata": {"name": "foreign", "labels": {"kubernetes.io/service-name": "s"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["198.18.9.9"]}],
        "ports": [],
    }
    await _create(api, SLICES, foreign)
    found = await _until(api, SLICES, lambda found: any(n.startswith("s-") for n in found))
    ours = next(name for name in found if name.startswith("s-"))

    wrong = {"endpoints": [{"addresses": ["198.18.8.8"]}]}
    await _patch(api, f"{SLICES}/{ours}", wrong)

    after = await _until(api, SLICES, lambda found: not found[ours].get("endpoints"))
    assert after["foreign"]["endpoints"][0]["addresses"] == ["198.18.9.9"]


async def test_deployment_makes_pods_on_both_nodes_and_becomes_available(api: Api) -> None:
    """Deployment, ReplicaSet, pods, places, status: the whole chain."""
    await _create(api, f"{APPS}/deployments", _deployment())

    pods = await _until(
        api,
        f"{CORE}/pods",
        lambda found: (
            len(found) == 2 and all(pod["spec"].get("nodeName") for pod in found.values())
        ),
    )
    await _run_pods(api, pods)
    done = await _until(
        api,
        f"{APPS}/deployments",
        lambda found: found["w"]["status"].get("availableReplicas") == 2,
    )

    assert {pod["spec"]["nodeName"] for pod in pods.values()} == {"node-1", "node-2"}
    conditions = {c["type"]: c["reason"] for c in done["w"]["status"]["conditions"]}
    assert conditions["Available"] == "MinimumReplicasAvailable"


async def test_rollout_replaces_pods_and_keeps_the_old_set(api: Api) -> None:
    """A new template comes up beside the old one, which then has no pods left."""
    await _create(api, f"{APPS}/deployments", _deployment())
    pods = await _until(api, f"{CORE}/pods", lambda found: len(found) == 2)
    await _run_pods(api, pods)
    await _until(
        api, f"{APPS}/deployments", lambda found: found["w"]["status"].get("readyReplicas") == 2
    )

    template = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [{"name": "c", "image": "y"}]},
    }
    await _patch(api, f"{APPS}/deployments/w", {"spec": {"template": template}})
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        agent = group.create_task(_act_as_agent(api))
        await _until(api, f"{APPS}/deployments", _is_rolled_out)
        agent.cancel()

    sets = (await api.call("GET", f"{APPS}/replicasets")).body["items"]
    sizes = {
        each["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: (
            each["spec"]["replicas"],
            each["spec"]["template"]["spec"]["containers"][0]["image"],
        )
        for each in sets
    }
    assert sizes == {"1": (0, "x"), "2": (2, "y")}


def _is_rolled_out(found: dict[str, dict[str, Any]]) -> bool:
    metadata, status = found["w"]["metadata"], found["w"]["status"]
    numbers = ("updatedReplicas", "replicas", "availableReplicas")
    is_seen = bool(status.get("observedGeneration") == metadata["generation"])
    return is_seen and all(status.get(name) == 2 for name in numbers)


async def _act_as_agent(api: Api) -> None:
    """Run what appears, and remove what is to go."""
    async with api.watch(f"{CORE}/pods?watch=true") as events:
        async for event in events:
            pod = event["object"]
            name = pod["metadata"]["name"]
            if event["type"] == "DELETED":
                continue
            if "deletionTimestamp" in pod["metadata"]:
                await api.call("DELETE", f"{CORE}/pods/{name}", {"gracePeriodSeconds": 0})
            elif pod["spec"].get("nodeName"):
                await _run_pods(api, {name: pod})


async def test_pod_without_a_place_tells_why_and_gets_one_later(api: Api) -> None:
    """The condition names the reason; a node that fits is used as soon as it is ready."""
    spec = {"containers": [{"name": "c", "image": "x"}], "nodeSelector": {"disk": "ssd"}}
    await _create(api, f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": spec})
    waiting = await _until(
        api, f"{CORE}/pods", lambda found: bool(found["p"]["status"].get("conditions"))
    )

    await _patch(api, "/api/v1/nodes/node-2", {"metadata": {"labels": {"disk": "ssd"}}})

    placed = await _until(api, f"{CORE}/pods", lambda found: "nodeName" in found["p"]["spec"])
    (told,) = waiting["p"]["status"]["conditions"]
    assert told["reason"] == "Unschedulable"
    assert told["message"] == (
        "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
    )
    assert placed["p"]["spec"]["nodeName"] == "node-2"


async def test_pods_go_with_their_node(api: Api) -> None:
    """Nobody is left to end them: they are removed when the node is deleted."""
    spec = {"containers": [{"name": "c", "image": "x"}], "nodeName": "node-1"}
    await _create(api, f"{CORE}/pods", {"metadata": {"name": "p"}, "spec": spec})

    await api.call("DELETE", "/api/v1/nodes/node-1")

    await _until(api, f"{CORE}/pods", lambda found: not found)


async def test_events_expire(api: Api) -> None:
    """An hour later an event has gone; a young one stays."""
    events = f"{CORE}/events"
    now = api.registry.now()
    for name, age in (("old", timedelta(hours=2)), ("young", timedelta(0))):
        event = {
            "metadata": {"name": name},
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
            "lastTimestamp": timestamp(now - age),
        }
        await _create(api, events, event)

    await EventExpiry(api.registry).sweep()

    assert (await api.call("GET", f"{events}/old")).status == 404
    assert (await api.call("GET", f"{events}/young")).status == 200


async def test_controllers_go_on_after_a_full_disk(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be written is written when there is room, without another event."""
    real, refusals = Database.commit, iter([True])

    def commit(database: Database, changes: Any) -> None:
        is_controllers = any(resource == "replicasets.apps" for resource, _ in changes)
        if is_controllers and next(refusals, False):
            raise DatabaseError("database or disk is full")
        real(database, changes)

    monkeypatch.setattr(Database, "commit", commit)

    await _create(api, f"{APPS}/deployments", _deployment())

    await _until(api, f"{CORE}/pods", lambda found: len(found) == 2)


class _Mistaken(Reconciler):
    """A controller with a bug about one object."""

    resources = ("configmaps",)

    def __init__(self) -> None:
        self.seen: asyncio.Queue[str] = asyncio.Queue()

    def concerned(self, _resource: str, event: Event) -> Iterable[Key]:
        """Fail for one name."""
        if event.entry.key.name == "bad-event":
            raise KeyError(event.entry.key.name)
        return [event.entry.key]

    def everything(self) -> Iterable[Key]:
        """Nothing at the beginning."""
        return []

    async def reconcile(self, key: Key) -> float | None:
        """Fail for another name."""
        if key.name == "bad-object":
            raise ZeroDivisionError
        self.seen.put_nowait(key.name)
        return None


async def test_mistake_about_one_object_does_not_end_the_server(
    api: Api, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is written down with its place, and the next object has its turn."""
    mistaken = _Mistaken()
    loop = ControllerLoop(api.registry.store, mistaken)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        started = asyncio.Event()
        task = group.create_task(loop.run(started=started.set))
        await started.wait()
        for name in ("bad-event", "bad-object", "good"):
            await _create(api, f"{CORE}/configmaps", {"metadata": {"name": name}})
        seen = await mistaken.seen.get()
        task.cancel()

    told = capsys.readouterr().err
    assert seen == "good"
    assert "_Mistaken default/bad-event" in told
    assert "ZeroDivisionError" in told
