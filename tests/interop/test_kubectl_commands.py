"""Real kubectl against the embedded API: the commands of a person's day."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.apiserver import ApiServer, FakeAgent, serving

pytestmark = pytest.mark.interop

WEB = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: none, command: [python3, -m, http.server], ports: [{name: http, containerPort: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]}
"""
POLICY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: deny}
spec: {action: DENY, rules: [{from: [{source: {namespaces: [x]}}]}]}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """One server with two nodes for all tests; each test has a namespace."""
    folder = tmp_path_factory.mktemp("api")
    with serving(folder) as running, FakeAgent(running.client(), "node-1", "node-2"):
        yield running


@pytest.fixture
def namespace(server: ApiServer, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace named after the test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:50].strip("-")
    server.kubectl("create", "namespace", name)
    yield name
    server.kubectl("delete", "namespace", name, "--wait=false")


def test_get_all_forms_show_what_there_is(server: ApiServer, namespace: str) -> None:
    """Tables, wide tables, names, JSON, YAML and templates all come from one list."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)

    table = server.kubectl("get", "svc", "-n", namespace).stdout
    wide = server.kubectl("get", "svc", "-n", namespace, "-o", "wide").stdout
    everywhere = server.kubectl("get", "svc", "-A", "--show-labels").stdout
    name = server.kubectl("get", "svc", "-n", namespace, "-o", "name").stdout
    path = "-o=jsonpath={.items[0].spec.ports[0].port}"
    port = server.kubectl("get", "svc", "-n", namespace, path).stdout
    whole = json.loads(server.kubectl("get", "svc", "web", "-n", namespace, "-o", "json").stdout)

    assert table.split("\n")[0].split() == [
        "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE",
    ]  # fmt: skip
    assert "SELECTOR" in wide
    assert "app=web" in wide
    assert "kubernetes" in everywhere
    assert name == "service/web\n"
    assert port == "80"
    assert whole["spec"]["clusterIP"].startswith("198.19.")


def test_get_by_label_field_and_page_selects(server: ApiServer, namespace: str) -> None:
    """Selectors and chunks give what they name, and everything once."""
    for number in range(7):
        server.kubectl("create", "cm", f"m{number}", "-n", namespace, f"--from-literal=n={number}")
    server.kubectl("label", "cm", "m3", "m5", "-n", namespace, "odd=yes")

    labelled = server.kubectl("get", "cm", "-n", namespace, "-l", "odd in (yes)", "-o", "name")
    field = server.kubectl(
        "get", "cm", "-n", namespace, "--field-selector=metadata.name=m1", "-o", "name"
    )
    pages = server.kubectl("get", "cm", "-n", namespace, "--chunk-size=2", "-o", "name")

    assert labelled.stdout.split() == ["configmap/m3", "configmap/m5"]
    assert field.stdout == "configmap/m1\n"
    assert len(pages.stdout.split()) == 8  # with the root certificate


def test_apply_client_side_is_quiet_the_second_time(server: ApiServer, namespace: str) -> None:
    """Nothing that the server adds makes kubectl see a difference."""
    first = server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB + "---\n" + POLICY)
    again = server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB + "---\n" + POLICY)
    difference = server.kubectl("diff", "-n", namespace, "-f", "-", stdin=WEB + "---\n" + POLICY)

    assert first.stdout.count("created") == 3
    assert again.stdout.count("unchanged") == 3
    assert difference.stdout == ""


def test_apply_changed_list_item_is_merged_by_its_key(server: ApiServer, namespace: str) -> None:
    """A strategic patch changes one container and leaves the rest."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    changed = WEB.replace("image: none", "image: other")

    difference = server.kubectl("diff", "-n", namespace, "-f", "-", stdin=changed, check=False)
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=changed)

    container = server.client().get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")[
        "spec"
    ]["template"]["spec"]["containers"][0]
    assert difference.returncode == 1
    assert "+        image: other" in re.sub(
        r"\n\+ +(- )?image", "\n+        image", difference.stdout
    )
    assert container["image"] == "other"
    assert container["ports"][0]["containerPort"] == 8000


def test_apply_server_side_conflicts_and_is_forced(server: ApiServer, namespace: str) -> None:
    """Fields of others are not taken without force, and the other is named."""
    server.kubectl("create", "cm", "a", "-n", namespace, "--from-literal=x=1")
    wanted = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '2'}\n"
    options = ("apply", "-n", namespace, "--server-side", "-f", "-")

    refused = server.kubectl(*options, stdin=wanted, check=False)
    forced = server.kubectl(*options, "--force-conflicts", stdin=wanted)

    assert refused.returncode != 0
    assert 'conflict with "kubectl-create" using v1: .data.x' in refused.stderr
    assert "serverside-applied" in forced.stdout
    assert server.client().get(f"/api/v1/namespaces/{namespace}/configmaps/a")["data"]["x"] == "2"


def test_apply_moves_from_client_to_server_side(server: ApiServer, namespace: str) -> None:
    """The first server-side apply over a client-side one rewrites managedFields by JSON patch."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)

    moved = server.kubectl("apply", "-n", namespace, "--server-side", "-f", "-", stdin=WEB)

    found = server.client().get(f"/api/v1/namespaces/{namespace}/services/web")
    managers = {(f["manager"], f["operation"]) for f in found["metadata"]["managedFields"]}
    assert moved.stdout.count("serverside-applied") == 2
    assert ("kubectl", "Apply") in managers
    assert ("kubectl-client-side-apply", "Update") not in managers


def test_label_and_annotate_set_and_take_away(server: ApiServer, namespace: str) -> None:
    """Labels and annotations come and go; overwriting needs to be said."""
    server.kubectl("create", "sa", "a", "-n", namespace)
    server.kubectl("label", "sa", "a", "-n", namespace, "k=1")
    server.kubectl("annotate", "sa", "a", "-n", namespace, "n=1")

    refused = server.kubectl("label", "sa", "a", "-n", namespace, "k=2", check=False)
    server.kubectl("label", "sa", "a", "-n", namespace, "k=2", "--overwrite")
    server.kubectl("annotate", "sa", "a", "-n", namespace, "n-")

    metadata = server.client().get(f"/api/v1/namespaces/{namespace}/serviceaccounts/a")["metadata"]
    assert refused.returncode != 0
    assert metadata["labels"] == {"k": "2"}
    assert "annotations" not in metadata


@pytest.mark.parametrize(
    ("style", "patch"),
    [
        ("strategic", '{"spec":{"ports":[{"port":80,"targetPort":8080}]}}'),
        ("merge", '{"spec":{"ports":[{"name":"http","port":80,"targetPort":8080}]}}'),
        ("json", '[{"op":"replace","path":"/spec/ports/0/targetPort","value":8080}]'),
    ],
)
def test_patch_of_every_type_changes_the_port(
    server: ApiServer, namespace: str, style: str, patch: str
) -> None:
    """All three types of patch reach the same object."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)

    server.kubectl("patch", "svc", "web", "-n", namespace, f"--type={style}", "-p", patch)

    spec = server.client().get(f"/api/v1/namespaces/{namespace}/services/web")["spec"]
    assert [(p["name"], p["port"], p["targetPort"]) for p in spec["ports"]] == [("http", 80, 8080)]


def test_patch_strategic_of_custom_kind_is_415(server: ApiServer, namespace: str) -> None:
    """Custom kinds have no merge keys, so kubectl must hear that at once."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=POLICY)

    refused = server.kubectl(
        "patch", "authorizationpolicy", "deny", "-n", namespace, "--type=strategic", "-p", "{}",
        check=False,
    )  # fmt: skip

    assert refused.returncode != 0
    assert "strategic-merge-patch+json is not supported" in refused.stderr


def test_describe_of_every_kind_works(server: ApiServer, namespace: str) -> None:
    """Describe finds all it asks for beside the object."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB + "---\n" + POLICY)
    server.kubectl("rollout", "status", "deployment/web", "-n", namespace, "--timeout=30s")

    deployment = server.kubectl("describe", "deployment", "web", "-n", namespace).stdout
    service = server.kubectl("describe", "service", "web", "-n", namespace).stdout
    pods = server.kubectl("describe", "pods", "-n", namespace).stdout
    policy = server.kubectl("describe", "authorizationpolicy", "deny", "-n", namespace).stdout
    home = server.kubectl("describe", "namespace", namespace).stdout
    node = server.kubectl("describe", "node", "node-1").stdout

    assert "2 desired | 2 updated | 2 total | 2 available | 0 unavailable" in deployment
    assert "NewReplicaSetAvailable" in deployment
    assert "ScalingReplicaSet" in deployment
    assert re.search(r"Endpoints: .*198\.18\.1\.\d+:8000", service)
    assert "Successfully assigned" in pods
    assert "DENY" in policy
    assert "Active" in home
    assert "Ready" in node


def test_rollout_scale_history_and_undo(server: ApiServer, namespace: str) -> None:
    """A deployment rolls forward, grows and goes back, as on a cluster."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    server.kubectl("rollout", "status", "deploy/web", "-n", namespace, "--timeout=30s")
    server.kubectl("scale", "deploy/web", "--replicas=3", "-n", namespace)
    server.kubectl("set", "image", "deploy/web", "web=other", "-n", namespace)
    server.kubectl("rollout", "status", "deploy/web", "-n", namespace, "--timeout=30s")

    history = server.kubectl("rollout", "history", "deploy/web", "-n", namespace).stdout
    server.kubectl("rollout", "undo", "deploy/web", "-n", namespace)
    server.kubectl("rollout", "status", "deploy/web", "-n", namespace, "--timeout=30s")
    server.kubectl("rollout", "restart", "deploy/web", "-n", namespace)
    server.kubectl("rollout", "status", "deploy/web", "-n", namespace, "--timeout=30s")

    found = server.client().get(f"/apis/apps/v1/namespaces/{namespace}/deployments/web")
    assert re.search(r"^1 .*\n2 ", history, re.MULTILINE)
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "none"
    assert found["status"]["readyReplicas"] == 3


def test_pods_of_a_deployment_spread_over_nodes(server: ApiServer, namespace: str) -> None:
    """Two replicas land on two nodes."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    server.kubectl("rollout", "status", "deploy/web", "-n", namespace, "--timeout=30s")

    path = "-o=jsonpath={.items[*].spec.nodeName}"
    nodes = server.kubectl("get", "pods", "-n", namespace, path).stdout.split()

    assert sorted(nodes) == ["node-1", "node-2"]


def test_wait_for_condition_jsonpath_and_deletion(server: ApiServer, namespace: str) -> None:
    """All three forms of wait end when it is so."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)

    ready = server.kubectl(
        "wait", "deploy/web", "-n", namespace, "--for=condition=Available", "--timeout=30s"
    )
    phase = server.kubectl(
        "wait", "pods", "--all", "-n", namespace, "--for=jsonpath={.status.phase}=Running",
        "--timeout=30s",
    )  # fmt: skip
    server.kubectl("delete", "deploy/web", "-n", namespace, "--wait=false")
    gone = server.kubectl(
        "wait", "pods", "-l", "app=web", "-n", namespace, "--for=delete", "--timeout=30s"
    )

    assert "condition met" in ready.stdout
    assert phase.stdout.count("condition met") == 2
    assert gone.returncode == 0


def test_delete_by_name_label_and_all(server: ApiServer, namespace: str) -> None:
    """Each form of delete takes what it names and waits until it has gone."""
    for name in ("a", "b", "c", "d"):
        server.kubectl("create", "cm", name, "-n", namespace)
    server.kubectl("label", "cm", "b", "-n", namespace, "x=y")

    server.kubectl("delete", "cm", "a", "-n", namespace)
    server.kubectl("delete", "cm", "-l", "x=y", "-n", namespace)
    left = server.kubectl("get", "cm", "c", "d", "-n", namespace, "-o", "name").stdout
    server.kubectl("delete", "cm", "--all", "-n", namespace)
    absent = server.kubectl("delete", "cm", "a", "-n", namespace, check=False)

    assert left.split() == ["configmap/c", "configmap/d"]
    assert 'configmaps "a" not found' in absent.stderr


def test_delete_deployment_takes_its_pods_along(server: ApiServer, namespace: str) -> None:
    """The garbage collector follows owners down to pods; foreground waits for them."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    server.kubectl("rollout", "status", "deploy/web", "-n", namespace, "--timeout=30s")

    server.kubectl("delete", "deploy/web", "-n", namespace, "--cascade=foreground", "--timeout=30s")

    left = server.kubectl("get", "pods,rs", "-n", namespace, "-o", "name").stdout
    assert left == ""


def test_delete_orphans_are_left_and_adopted(server: ApiServer, namespace: str) -> None:
    """Orphaned pods live on, and belong to the next Deployment of that shape."""
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    server.kubectl("rollout", "status", "deploy/web", "-n", namespace, "--timeout=30s")
    before = server.kubectl("get", "pods", "-n", namespace, "-o", "name").stdout

    server.kubectl("delete", "deploy/web", "-n", namespace, "--cascade=orphan", "--timeout=30s")
    server.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    server.kubectl("rollout", "status", "deploy/web", "-n", namespace, "--timeout=30s")

    assert server.kubectl("get", "pods", "-n", namespace, "-o", "name").stdout == before


def test_delete_namespace_takes_everything_along(server: ApiServer) -> None:
    """A namespace goes after its content, and nothing new may come meanwhile."""
    server.kubectl("create", "namespace", "going")
    server.kubectl("apply", "-n", "going", "-f", "-", stdin=WEB)

    server.kubectl("delete", "namespace", "going", "--timeout=30s")

    left = server.kubectl("get", "all,cm,sa", "-n", "going", "-o", "name", check=False).stdout
    assert left == ""
    assert server.kubectl("get", "ns", "going", check=False).returncode == 1


def test_edit_changes_what_the_editor_changed(
    server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    """Edit sends a patch of what was changed in the editor."""
    server.kubectl("create", "cm", "a", "-n", namespace, "--from-literal=x=before")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i s/before/after/ "$1"\n')
    editor.chmod(0o755)

    server.kubectl("edit", "cm", "a", "-n", namespace, KUBE_EDITOR=str(editor))

    data = server.client().get(f"/api/v1/namespaces/{namespace}/configmaps/a")["data"]
    assert data == {"x": "after"}


def test_create_of_every_generator_works(server: ApiServer, namespace: str) -> None:
    """What kubectl builds itself it sends as protobuf; all of it is understood."""
    for arguments in (
        ("sa", "robot"),
        ("cm", "map", "--from-literal=a=b"),
        ("secret", "generic", "hidden", "--from-literal=a=b"),
        ("deployment", "app", "--image=x", "--replicas=1", "--port=80"),
        ("service", "clusterip", "app", "--tcp=80:8080"),
        ("service", "externalname", "ext", "--external-name=example.com"),
    ):
        server.kubectl("create", *arguments, "-n", namespace)
    token = server.kubectl("create", "token", "robot", "-n", namespace, "--duration=15m").stdout

    secret = server.client().get(f"/api/v1/namespaces/{namespace}/secrets/hidden")
    assert secret["data"] == {"a": "Yg=="}
    assert token.count(".") == 2


def test_run_and_expose_make_a_pod_and_a_service(server: ApiServer, namespace: str) -> None:
    """`run` sends an empty status, which must not count; `expose` finds the pod's labels."""
    server.kubectl("run", "one", "--image=x", "-n", namespace, "--port=80")
    server.kubectl("expose", "pod", "one", "-n", namespace)
    server.kubectl("wait", "pod/one", "-n", namespace, "--for=condition=Ready", "--timeout=30s")

    table = server.kubectl("get", "pod", "one", "-n", namespace).stdout

    assert re.search(r"one +1/1 +Running +0", table)


def test_replace_and_force_replace(server: ApiServer, namespace: str) -> None:
    """PUT replaces an object; with force it is a new one."""
    first = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {x: '1'}\n"
    server.kubectl("create", "-n", namespace, "-f", "-", stdin=first)
    before = server.client().get(f"/api/v1/namespaces/{namespace}/configmaps/a")

    server.kubectl("replace", "-n", namespace, "-f", "-", stdin=first.replace("'1'", "'2'"))
    replaced = server.client().get(f"/api/v1/namespaces/{namespace}/configmaps/a")
    server.kubectl("replace", "--force", "-n", namespace, "-f", "-", stdin=first)
    forced = server.client().get(f"/api/v1/namespaces/{namespace}/configmaps/a")

    assert replaced["data"] == {"x": "2"}
    assert replaced["metadata"]["uid"] == before["metadata"]["uid"]
    assert forced["metadata"]["uid"] != before["metadata"]["uid"]


def test_dry_run_changes_nothing(server: ApiServer, namespace: str) -> None:
    """What the server would do is told and not done."""
    told = server.kubectl("apply", "-n", namespace, "--dry-run=server", "-f", "-", stdin=WEB)

    left = server.kubectl("get", "deploy,svc", "-n", namespace, "-o", "name").stdout
    assert told.stdout.count("created (server dry run)") == 2
    assert left == ""


def test_discovery_commands_answer(server: ApiServer) -> None:
    """Versions, resources, explanations and the server's own health."""
    resources = server.kubectl("api-resources").stdout
    versions = server.kubectl("api-versions").stdout
    explained = server.kubectl("explain", "service.spec.ports").stdout
    custom = server.kubectl("explain", "authorizationpolicy.spec").stdout
    version = server.kubectl("version").stdout
    ready = server.kubectl("get", "--raw", "/readyz").stdout

    assert re.search(r"^deployments +deploy +apps/v1 +true +Deployment", resources, re.MULTILINE)
    assert re.search(r"^httproutes +gateway\.networking", resources, re.MULTILINE)
    assert "security.istio.io/v1" in versions
    assert "targetPort" in explained
    assert "action" in custom
    assert "Server Version: v1." in version
    assert ready == "ok"


def test_auth_commands_tell_who_may_what(server: ApiServer) -> None:
    """The administrator may everything, a robot account nothing but ask about itself."""
    token = server.kubectl("create", "token", "default").stdout
    as_account = (f"--token={token}", "--user=")

    may = server.kubectl("auth", "can-i", "delete", "pods").stdout
    whoami = server.kubectl("auth", "whoami").stdout
    lists = server.kubectl("auth", "can-i", "--list").stdout
    may_not = server.kubectl(*as_account, "auth", "can-i", "list", "pods", check=False)
    refused = server.kubectl(*as_account, "get", "pods", check=False)

    assert may == "yes\n"
    assert "ambimesh:admin" in whoami
    assert "[*]" in lists
    assert may_not.stdout == "no\n"
    assert (
        'pods is forbidden: User "system:serviceaccount:default:default" cannot list resource'
        ' "pods" in API group "" in the namespace "default"' in refused.stderr
    )


def test_wrong_type_names_file_object_path_and_type(
    server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    """A manifest with a wrong type is refused with all that is needed to correct it."""
    manifest = tmp_path / "wrong.yaml"
    text = WEB.split("---", maxsplit=1)[0].replace("replicas: 2", 'replicas: "two"')
    manifest.write_text(text + "---\n" + POLICY.replace("action: DENY", "action: 7"))

    refused = server.kubectl("apply", "-n", namespace, "-f", str(manifest), check=False)

    assert refused.returncode == 1
    deployment, policy = refused.stderr.strip().split("\n")
    for line, parts in (
        (deployment, ('deployments.apps "web"', "spec.replicas", "integer", '"string"')),
        (policy, ('authorizationpolicies.security.istio.io "deny"', "spec.action", "string")),
    ):
        for part in (str(manifest), *parts):
            assert part in line


def test_unknown_fields_are_reported(server: ApiServer, namespace: str) -> None:
    """Strict refuses them, as kubectl asks by default; otherwise they are a warning."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, bogus: 1}\n"

    strict = server.kubectl("create", "-n", namespace, "-f", "-", stdin=text, check=False)
    warned = server.kubectl("create", "-n", namespace, "--validate=warn", "-f", "-", stdin=text)

    assert 'strict decoding error: unknown field "metadata.bogus"' in strict.stderr
    assert 'Warning: unknown field "metadata.bogus"' in warned.stderr
