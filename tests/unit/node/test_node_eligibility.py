"""Which pods are captured."""

import pytest

from ambimesh.node.eligibility import Ineligible, PodFacts, ineligible

AMBIENT = {"istio.io/dataplane-mode": "ambient"}
NONE = {"istio.io/dataplane-mode": "none"}
OTHER = {"istio.io/dataplane-mode": "sidecar"}
SIDECAR = {"sidecar.istio.io/status": "{}"}


@pytest.mark.parametrize(
    ("own", "namespace", "expected"),
    [
        ({}, {}, Ineligible.NOT_LABELLED),
        ({}, AMBIENT, None),
        (AMBIENT, {}, None),
        (AMBIENT, NONE, None),
        (NONE, AMBIENT, Ineligible.OPTED_OUT),
        (NONE, {}, Ineligible.OPTED_OUT),
        ({}, NONE, Ineligible.NOT_LABELLED),
        (OTHER, AMBIENT, None),
        (OTHER, {}, Ineligible.NOT_LABELLED),
    ],
)
def test_pods_label_wins_over_the_namespaces(
    own: dict[str, str], namespace: dict[str, str], expected: Ineligible | None
) -> None:
    """A pod opts in or out by its own label; without one its namespace decides."""
    pod = PodFacts(namespace="demo", labels=own, annotations={}, namespace_labels=namespace)
    assert ineligible(pod) is expected


@pytest.mark.parametrize(
    ("name", "annotations", "host_network", "expected"),
    [
        ("demo", {}, True, Ineligible.HOST_NETWORK),
        ("demo", SIDECAR, False, Ineligible.SIDECAR),
        ("kube-system", {}, False, Ineligible.EXCLUDED_NAMESPACE),
        ("demo", {}, False, None),
    ],
)
def test_what_cannot_be_captured_is_not_whatever_the_labels_say(
    name: str, annotations: dict[str, str], host_network: bool, expected: Ineligible | None
) -> None:
    """The host's network, a sidecar and the system's namespace stay as they are."""
    pod = PodFacts(
        namespace=name, labels=AMBIENT, annotations=annotations, namespace_labels=AMBIENT,
        host_network=host_network,
    )  # fmt: skip
    assert ineligible(pod) is expected
