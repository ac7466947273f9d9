"""Which pods are captured: a pure decision from labels and annotations.

Source: control-plane specification §1.1 and §10.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MODE_LABEL = "istio.io/dataplane-mode"
REDIRECTION_ANNOTATION = "ambient.istio.io/redirection"
SIDECAR_ANNOTATION = "sidecar.istio.io/status"

DEFAULT_EXCLUDED_NAMESPACES = frozenset({"kube-system"})


class Redirection(StrEnum):
    """Values of the annotation that tells the control plane a pod's actual state."""

    ENABLED = "enabled"
    PENDING = "pending"


class Ineligible(StrEnum):
    """Why a pod is not captured."""

    NOT_LABELLED = "not_labelled"
    OPTED_OUT = "opted_out"
    HOST_NETWORK = "host_network"
    SIDECAR = "sidecar"
    EXCLUDED_NAMESPACE = "excluded_namespace"


@dataclass(frozen=True, slots=True, kw_only=True)
class PodFacts:
    """What the decision looks at."""

    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    namespace_labels: Mapping[str, str]
    host_network: bool = False


def ineligible(
    pod: PodFacts, excluded: frozenset[str] = DEFAULT_EXCLUDED_NAMESPACES
) -> Ineligible | None:
    """Say why ``pod`` is not to be captured; ``None`` means that it is.

    The pod's own label wins over the namespace's: ``none`` opts out, ``ambient`` opts in.
    """
    if pod.host_network:
        return Ineligible.HOST_NETWORK
    if SIDECAR_ANNOTATION in pod.annotations:
        return Ineligible.SIDECAR
    if pod.namespace in excluded:
        return Ineligible.EXCLUDED_NAMESPACE
    own = pod.labels.get(MODE_LABEL)
    if own == "none":
        return Ineligible.OPTED_OUT
    if own == "ambient" or pod.namespace_labels.get(MODE_LABEL) == "ambient":
        return None
    return Ineligible.NOT_LABELLED
