"""What a pod's programs are started with, when they start again, and what the API shows."""

from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.kube.core import (
    Container,
    EnvironmentVariable,
    Pod,
    PodSpec,
    SecurityContext,
)
from ambimesh.kube.meta import Metadata
from ambimesh.local import addresses
from ambimesh.local.init.protocol import Credentials
from ambimesh.local.pods import plan
from ambimesh.local.pods.pod_status import ContainerView, Ending, PodView, phase, status
from ambimesh.local.pods.restart import FIRST_SECONDS, LONGEST_SECONDS, Backoff, starts_again

PLACE = plan.PodPlace(
    folder=Path("/pods/demo/web"), own=addresses.pod(1, 10),
    nameserver=addresses.gateway(1), rootless_uid=None,
)  # fmt: skip
CONTAINER = Container(name="app", command=("/bin/server",), args=("-v",))


def pod(*containers: Container, **spec: Any) -> Pod:
    """Make the pod demo/web."""
    return Pod(
        metadata=Metadata(name="web", namespace="demo", uid="u1"),
        spec=PodSpec(containers=containers or (CONTAINER,), **spec),
    )


def test_container_becomes_a_process_of_its_sandbox() -> None:
    """Command and arguments, a key of its own, the pod's log, names and secrets."""
    spawn = plan.container_spawn(pod(), CONTAINER, PLACE, start=3)

    assert spawn.key == "pod/u1/app/3"
    assert (spawn.owner, spawn.sandbox, spawn.hostname) == ("pods", "u1", "web")
    assert spawn.argv == ("/bin/server", "-v")
    assert spawn.cwd == "/"
    assert spawn.log == "/pods/demo/web/app.log"
    assert [bind.target for bind in spawn.binds] == [
        "/etc/resolv.conf", "/etc/hosts", "/var/run/secrets/kubernetes.io/serviceaccount",
    ]  # fmt: skip
    assert all(bind.read_only for bind in spawn.binds)


def test_containers_own_variables_win() -> None:
    """The cluster's are there; a manifest may say otherwise."""
    container = Container(name="app", env=(EnvironmentVariable(name="PATH", value="/mine"),))

    found = plan.environment(pod(), container)

    assert found["PATH"] == "/mine"
    assert found["KUBERNETES_SERVICE_HOST"] == "198.19.0.1"


@pytest.mark.parametrize(
    ("own", "shared", "rootless", "expected"),
    [
        ({}, {}, None, None),
        ({"run_as_user": 5}, {}, None, Credentials(uid=5, gid=5)),
        ({}, {"run_as_user": 6, "run_as_group": 7}, None, Credentials(uid=6, gid=7)),
        ({"run_as_user": 0}, {"run_as_user": 6}, None, Credentials(uid=0, gid=0)),
        ({"run_as_group": 8}, {"run_as_user": 6}, None, Credentials(uid=6, gid=8)),
        ({"run_as_user": 5}, {}, 1000, Credentials(uid=1000, gid=1000, nested=True)),
    ],
)
def test_user_is_the_containers_then_the_pods_then_root(
    own: dict[str, int], shared: dict[str, int], rootless: int | None,
    expected: Credentials | None,
) -> None:  # fmt: skip
    """Without root, everything runs as the mesh's owner in a user namespace."""
    container = Container(name="app", security_context=SecurityContext(**own))
    made = pod(container, security_context=SecurityContext(**shared))
    place = plan.PodPlace(
        folder=PLACE.folder, own=PLACE.own, nameserver=PLACE.nameserver, rootless_uid=rootless
    )
    assert plan.credentials(made, container, place) == expected


def test_resolver_and_hosts_name_the_cluster_and_the_pod() -> None:
    """The namespace's names come first; the pod knows itself."""
    assert plan.resolv_conf("demo", PLACE) == (
        "nameserver 198.18.1.1\n"
        "search demo.svc.cluster.local svc.cluster.local cluster.local\n"
        "options ndots:5\n"
    )
    assert f"{ip_address('198.18.1.10')}\tweb\n" in plan.hosts(pod(), PLACE)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (pod(), None),
        (pod(Container(name="app", args=("x",))), None),
        (pod(Container(name="app", image="nginx")), "container app has no command"),
        (pod(init_containers=(Container(name="i"),)), "container i has no command"),
        (pod(host_network=True), "hostNetwork is not possible"),
    ],
)
def test_what_cannot_run_here_is_said(made: Pod, why: str | None) -> None:
    """A pod without a command, or on the host's network, says why it fails."""
    found = plan.unusable(made)
    assert (found is None) if why is None else (found is not None and found.startswith(why))


def test_host_name_is_the_pods_wish_and_never_too_long() -> None:
    """A host name has at most 63 characters."""
    assert plan.hostname(pod(hostname="db-0")) == "db-0"
    assert len(plan.hostname(pod(hostname="x" * 70))) == 63


@pytest.mark.parametrize(
    ("policy", "code", "again"),
    [
        ("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 9, True),
        ("Never", 0, False), ("Never", 1, False), ("", 0, True),
    ],
)  # fmt: skip
def test_restart_policy(policy: str, code: int, again: bool) -> None:
    """As Kubernetes says; the default is Always."""
    assert starts_again(policy, code) is again


@given(st.lists(st.floats(0, 2000), min_size=1, max_size=30))
def test_backoff_doubles_within_its_bounds_and_starts_anew(runs: list[float]) -> None:
    """Between one second and five minutes; a run of ten minutes forgives."""
    backoff = Backoff()
    for seconds in runs:
        before, backoff = backoff.seconds, backoff.after(ran_seconds=seconds)
        assert FIRST_SECONDS <= backoff.seconds <= LONGEST_SECONDS
        if seconds >= 600 or not before:
            assert backoff.seconds == FIRST_SECONDS
        else:
            assert backoff.seconds == min(2 * before, LONGEST_SECONDS)


OK = Ending(exit_code=0, signal=None, started_at=1, finished_at=2)
BAD = Ending(exit_code=3, signal=9, started_at=1, finished_at=2)


def view(**changes: Any) -> ContainerView:
    """Make a container's view."""
    return ContainerView(name="app", **changes)


RUNS = view(running_since=5.0, is_ready=True, has_started=True)
DONE, FAILED = view(ending=OK, is_over=True), view(ending=BAD, is_over=True)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (PodView(containers=()), "Pending"),
        (PodView(containers=(view(),)), "Pending"),
        (PodView(containers=(RUNS,)), "Running"),
        (PodView(containers=(RUNS, view())), "Running"),
        (PodView(containers=(view(ending=BAD, waiting="CrashLoopBackOff"),)), "Running"),
        (PodView(containers=(RUNS, DONE)), "Running"),
        (PodView(containers=(DONE, DONE)), "Succeeded"),
        (PodView(containers=(DONE, FAILED)), "Failed"),
        (PodView(containers=(view(),), init_containers=(FAILED,)), "Failed"),
        (PodView(containers=(view(),), init_containers=(DONE,)), "Pending"),
        (PodView(containers=(), failure="no command"), "Failed"),
        (PodView(containers=(), failure="busy", reason="SandboxNotReady"), "Pending"),
    ],
)
def test_phase(made: PodView, expected: str) -> None:
    """One word for all containers."""
    assert phase(made) == expected


def conditions(made: PodView, previous: dict[str, str] | None = None, now: float = 100.0
               ) -> dict[str, tuple[str, str]]:  # fmt: skip
    """Give status and time by condition."""
    document = status(made, previous=previous or {}, now=now)
    return {c["type"]: (c["status"], c["lastTransitionTime"]) for c in document["conditions"]}


def test_conditions_keep_their_time_until_they_turn() -> None:
    """A condition that has not changed keeps the moment when it last did."""
    first = conditions(PodView(containers=(RUNS,)))
    previous = {kind: f"{value} {since}" for kind, (value, since) in first.items()}

    later = conditions(PodView(containers=(view(),)), previous, now=200.0)

    assert first["Ready"] == ("True", "1970-01-01T00:01:40Z")
    assert later["Ready"] == ("False", "1970-01-01T00:03:20Z")
    assert later["PodScheduled"] == first["PodScheduled"]


def test_ready_needs_every_container_and_initialized_every_init_container() -> None:
    """One that is not ready is enough."""
    assert conditions(PodView(containers=(RUNS, view())))["Ready"][0] == "False"
    assert conditions(PodView(containers=()))["Ready"][0] == "False"
    waiting = PodView(containers=(view(),), init_containers=(view(),))
    assert conditions(waiting)["Initialized"][0] == "False"


def test_container_that_ended_says_how() -> None:
    """Ended for good: its state. Started again: its last state."""
    over = status(PodView(containers=(FAILED,)), previous={}, now=1)["containerStatuses"][0]
    again = RUNS.with_changes(ending=BAD, restarts=1)
    restarted = status(PodView(containers=(again,)), previous={}, now=1)["containerStatuses"][0]

    assert over["state"]["terminated"]["exitCode"] == 3
    assert over["lastState"] == {}
    assert list(restarted["state"]) == ["running"]
    assert restarted["lastState"]["terminated"]["signal"] == 9
    assert restarted["restartCount"] == 1


def test_addresses_are_shown_when_there_is_a_sandbox() -> None:
    """Both families, the first one first."""
    made = PodView(containers=(), own=addresses.pod(1, 10), host=addresses.node(1), started_at=1)
    document = status(made, previous={}, now=1)

    assert document["podIP"] == "198.18.1.10"
    assert next(entry["ip"] for entry in document["podIPs"]) == "198.18.1.10"
    assert document["hostIP"] == "198.18.0.2"
    assert "podIP" not in status(PodView(containers=()), previous={}, now=1)
