"""What a DELETE does, by kind, grace, finalizers and preconditions. Pure."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ambimesh.local.apiserver.builtin import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS
from ambimesh.local.apiserver.objects.delete import decide, is_finished
from ambimesh.local.apiserver.objects.options import DeleteOptions
from ambimesh.local.apiserver.status import StatusError

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _object(**more: Any) -> dict[str, Any]:
    metadata = {"name": "a", "uid": "u", "resourceVersion": "5", "generation": 1}
    return {"metadata": metadata, **more}


def test_plain_object_is_gone_at_once() -> None:
    """Without anything that holds it, an object goes."""
    assert decide(CONFIG_MAPS, _object(), DeleteOptions(), NOW).is_gone


def test_bound_pod_gets_its_grace() -> None:
    """A pod that runs is marked with the moment at which it must have ended."""
    pod = _object(spec={"nodeName": "n", "terminationGracePeriodSeconds": 20}, status={})

    decision = decide(PODS, pod, DeleteOptions(), NOW)

    metadata = decision.obj["metadata"]
    assert not decision.is_gone
    assert metadata["deletionTimestamp"] == "2026-01-02T03:04:25Z"
    assert metadata["deletionGracePeriodSeconds"] == 20
    assert metadata["generation"] == 2


@pytest.mark.parametrize(
    ("spec", "status", "options"),
    [
        ({}, {}, DeleteOptions()),
        ({"nodeName": "n"}, {"phase": "Succeeded"}, DeleteOptions()),
        ({"nodeName": "n"}, {"phase": "Running"}, DeleteOptions(grace_seconds=0)),
    ],
)
def test_pod_that_needs_no_grace_is_gone(
    spec: dict[str, Any], status: dict[str, Any], options: DeleteOptions
) -> None:
    """Without a node, ended, or by force."""
    assert decide(PODS, _object(spec=spec, status=status), options, NOW).is_gone


def test_second_delete_shortens_the_grace_but_never_lengthens_it() -> None:
    """Whoever is in more of a hurry wins."""
    pod = _object(spec={"nodeName": "n"}, status={})
    marked = decide(PODS, pod, DeleteOptions(grace_seconds=30), NOW).obj

    longer = decide(PODS, marked, DeleteOptions(grace_seconds=60), NOW)
    assert not longer.is_changed
    shorter = decide(PODS, marked, DeleteOptions(grace_seconds=1), NOW)

    assert shorter.is_changed
    assert shorter.obj["metadata"]["deletionGracePeriodSeconds"] == 1


def test_finalizers_hold_an_object() -> None:
    """It goes when the last of them has gone."""
    held = _object()
    held["metadata"]["finalizers"] = ["x/y"]

    decision = decide(CONFIG_MAPS, held, DeleteOptions(), NOW)
    was_gone = decision.is_gone
    del decision.obj["metadata"]["finalizers"]

    assert not was_gone
    assert is_finished(CONFIG_MAPS, decision.obj)


@pytest.mark.parametrize(
    ("propagation", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")]
)
def test_propagation_is_a_finalizer_for_the_collector(propagation: Any, finalizer: str) -> None:
    """What has to happen to dependants first is written down in the object."""
    decision = decide(DEPLOYMENTS, _object(), DeleteOptions(propagation=propagation), NOW)

    assert not decision.is_gone
    assert decision.obj["metadata"]["finalizers"] == [finalizer]


def test_namespace_is_terminating_until_it_is_finalized() -> None:
    """A namespace waits for its content."""
    decision = decide(
        NAMESPACES, _object(spec={"finalizers": ["kubernetes"]}), DeleteOptions(), NOW
    )
    was_gone = decision.is_gone
    decision.obj["spec"] = {}

    assert not was_gone
    assert decision.obj["status"] == {"phase": "Terminating"}
    assert is_finished(NAMESPACES, decision.obj)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (DeleteOptions(uid="other"), "UID in precondition: other, UID in object meta: u"),
        (DeleteOptions(resource_version="4"), "ResourceVersion in precondition: 4"),
    ],
)
def test_precondition_that_does_not_hold_is_a_conflict(options: DeleteOptions, words: str) -> None:
    """Another object, or another version, is not meant."""
    with pytest.raises(StatusError, match=words) as refused:
        decide(CONFIG_MAPS, _object(), options, NOW)

    assert refused.value.code == 409
