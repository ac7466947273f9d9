"""Which namespaces need the trust bundle written."""

import pytest

from ambimesh.ca.bundle import CONFIG_MAP, KEY, LABELS, wrong_namespaces
from ambimesh.kube.objects import ConfigMap, Metadata, Namespace

GONE = "2026-01-01T00:00:00Z"


def namespace(name: str, deleted: str | None = None) -> Namespace:
    """Make a namespace."""
    return Namespace(metadata=Metadata(name=name, deletion_timestamp=deleted))


def bundle(text: str, labels: dict[str, str]) -> ConfigMap:
    """Make a bundle."""
    metadata = Metadata(name=CONFIG_MAP, namespace="a", labels=labels)
    return ConfigMap(metadata=metadata, data={KEY: text})


@pytest.mark.parametrize(
    ("found", "existing", "wrong"),
    [
        (namespace("a"), None, ["a"]),
        (namespace("a"), bundle("root", dict(LABELS)), []),
        (namespace("a"), bundle("older", dict(LABELS)), ["a"]),
        (namespace("a"), bundle("root", {}), ["a"]),
        (namespace("a", GONE), None, []),
        (namespace("kube-public"), None, []),
        (namespace("kube-system"), None, ["kube-system"]),
    ],
)
def test_bundle_is_written_where_it_is_missing_or_differs(
    found: Namespace, existing: ConfigMap | None, wrong: list[str]
) -> None:
    """Everywhere but in namespaces that go away or never run mesh programs."""
    maps = {existing.key: existing} if existing else {}

    assert wrong_namespaces({found.key: found}, maps, "root") == wrong
