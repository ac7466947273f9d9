"""Settings from arguments, environment and mesh config."""

from datetime import timedelta
from pathlib import Path

import pytest

from ambimesh.controlplane.duration import parse_duration
from ambimesh.controlplane.meshconfig import read_mesh
from ambimesh.controlplane.settings import Endpoint, Settings, from_environment
from ambimesh.diagnostics.problem import UsageError
from ambimesh.kube.objects import ConfigMap, Metadata, Namespace
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import DEFAULT_CLUSTER, NetworkId


def settings(**environment: str) -> Settings:
    """Read settings from an environment."""
    return from_environment(
        environment,
        kubeconfig=Path("k"),
        listen=["198.18.0.1:15012", "[fd98::1]:15012"],
        monitor="198.18.0.1:15014",
        hostname="host",
    )


def test_defaults_are_those_of_one_machine() -> None:
    """Without an environment everything has its documented value."""
    found = settings()

    assert found.listen[1] == Endpoint(host="fd98::1", port=15012)
    assert str(found.listen[1]) == "[fd98::1]:15012"
    assert found.identity == "controlplane-host"
    assert found.trusted_accounts == {("istio-system", "ztunnel")}
    assert found.audiences == ("istio-ca",)
    assert found.lifetimes.default == timedelta(hours=24)


def test_environment_has_istios_names() -> None:
    """The variables of Istio's chart mean the same here."""
    found = settings(
        CA_TRUSTED_NODE_ACCOUNTS="a/b, c/d",
        TOKEN_AUDIENCES="x,y",
        DEFAULT_WORKLOAD_CERT_TTL="1h30m",
        MAX_WORKLOAD_CERT_TTL="48h",
        POD_NAME="istiod-1",
    )

    assert found.trusted_accounts == {("a", "b"), ("c", "d")}
    assert found.audiences == ("x", "y")
    assert found.lifetimes.default == timedelta(minutes=90)
    assert found.lifetimes.longest == timedelta(hours=48)
    assert found.identity == "istiod-1"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CA_TRUSTED_NODE_ACCOUNTS", "ztunnel"),
        ("CA_TRUSTED_NODE_ACCOUNTS", "/ztunnel"),
        ("DEFAULT_WORKLOAD_CERT_TTL", "soon"),
        ("MAX_WORKLOAD_CERT_TTL", "-1h"),
    ],
)
def test_bad_value_names_the_variable(name: str, value: str) -> None:
    """The error says which variable."""
    with pytest.raises(UsageError, match=name):
        settings(**{name: value})


@pytest.mark.parametrize(
    "text", ["", "15012", "host:15012", "1.2.3.4", "1.2.3.4:x", "1.2.3.4:70000"]
)
def test_bad_address_is_a_usage_error(text: str) -> None:
    """What cannot be listened on is refused with the text."""
    with pytest.raises(UsageError, match="AMB0701"):
        Endpoint.parse(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("24h", 86400), ("1h30m", 5400), ("500ms", 0.5), ("1.5s", 1.5)]
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    """Durations are written as Go writes them."""
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "1", "h", "1d", "-1h", "1h 2m"])
def test_other_durations_are_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def mesh_of(text: str, labels: dict[str, str] | None = None) -> Mesh:
    """Read a mesh config."""
    system = Namespace(metadata=Metadata(name="istio-system", labels=labels or {}))
    return read_mesh(
        ConfigMap(data={"mesh": text}), system, namespace="istio-system", cluster=DEFAULT_CLUSTER
    )


def test_mesh_config_sets_trust_domain_root_namespace_and_network() -> None:
    """What is set is taken, what is not has its default."""
    found = mesh_of(
        "trustDomain: corp\nrootNamespace: policies\nother: 1",
        {"topology.istio.io/network": "net-1"},
    )

    assert found.trust_domain == "corp"
    assert found.root_namespace == "policies"
    assert found.network == NetworkId("net-1")
    assert mesh_of("") == Mesh()


@pytest.mark.parametrize("text", ["a: [", "- 1", "text"])
def test_mesh_config_that_is_no_object_is_an_error(text: str) -> None:
    """Nonsense is not taken for an empty config: that would change the trust domain."""
    with pytest.raises(ValueError, match="mesh config"):
        mesh_of(text)
