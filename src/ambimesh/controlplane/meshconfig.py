"""The mesh's own configuration: ConfigMap ``istio``, key ``mesh``, as far as we read it."""

from typing import Any, Final

import yaml

from ambimesh.kube.core import ConfigMap, Namespace
from ambimesh.model.identity import DEFAULT_TRUST_DOMAIN, TrustDomain
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import LOCAL_NETWORK, ClusterId, NetworkId

CONFIG_MAP: Final = "istio"
KEY: Final = "mesh"
NETWORK_LABEL: Final = "topology.istio.io/network"


def read_mesh(
    config_map: ConfigMap | None,
    system_namespace: Namespace | None,
    *,
    namespace: str,
    cluster: ClusterId,
) -> Mesh:
    """Read the settings of the mesh; what is absent has its default.

    Args:
        config_map: The mesh config, if there is one.
        system_namespace: Where the control plane lives; its label names the network.
        namespace: Its name, the default of the root namespace.
        cluster: The cluster's id.

    Errors: ``ValueError`` when the text is no YAML object.
    """
    text = config_map.data.get(KEY, "") if config_map is not None else ""
    values = _object(text)
    network = system_namespace.metadata.labels.get(NETWORK_LABEL, "") if system_namespace else ""
    return Mesh(
        trust_domain=TrustDomain(str(values.get("trustDomain") or DEFAULT_TRUST_DOMAIN)),
        root_namespace=str(values.get("rootNamespace") or namespace),
        cluster=cluster,
        network=NetworkId(network) or LOCAL_NETWORK,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"mesh config: {error}") from error
    if not isinstance(values, dict):
        raise ValueError("mesh config: not an object")  # noqa: TRY004 # a value of a file
    return values
