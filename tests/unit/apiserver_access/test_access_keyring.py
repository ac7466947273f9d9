"""Keys, certificates and kubeconfigs: made once, for the owner only, renewed in time."""

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from cryptography import x509

from ambimesh.local.apiserver.access.components import ADMIN, user_of
from ambimesh.local.apiserver.access.keyring import (
    SERVER_NAMES,
    open_keyring,
    write_kubeconfigs,
    write_node_kubeconfig,
)
from ambimesh.local.apiserver.server import tls_context
from ambimesh.local.home import Home

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home directory."""
    made = Home(tmp_path / "home")
    made.create()
    return made


def test_everything_is_kept_and_private(home: Home) -> None:
    """A second start finds the same keys; nobody else may read any of them."""
    first, second = open_keyring(home, NOW), open_keyring(home, NOW)
    write_kubeconfigs(home, first, "https://127.0.0.1:1")
    write_node_kubeconfig(home, "node-1")

    assert first.authority == second.authority
    assert first.component_key == second.component_key
    assert first.token_key.thumbprint() == second.token_key.thumbprint()
    files = [home.kubeconfig, *home.api.iterdir(), *home.credentials.iterdir()]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_server_certificate_has_every_name(home: Home) -> None:
    """Loopback, cluster names, the control side and the service address."""
    keyring = open_keyring(home, NOW)

    certificate = x509.load_pem_x509_certificate(keyring.certificate_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    found = {str(name.value) for name in names}

    assert set(SERVER_NAMES) <= found
    assert {"127.0.0.1", "::1", "localhost", "198.18.0.1", "198.19.0.1"} <= found
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(keyring.authority))
    tls_context(keyring.certificate_file, keyring.key_file)


def test_server_certificate_is_renewed_before_it_ends(home: Home) -> None:
    """A month before, with the same authority: no kubeconfig becomes stale."""
    first = open_keyring(home, NOW)
    before = first.certificate_file.read_bytes()

    early = open_keyring(home, NOW + timedelta(days=300)).certificate_file.read_bytes()
    late = open_keyring(home, NOW + timedelta(days=340))

    assert early == before
    assert late.certificate_file.read_bytes() != before
    assert late.authority == first.authority


def test_kubeconfigs_point_where_their_users_are(home: Home) -> None:
    """People on loopback, components inside the mesh, each with a token of their own."""
    keyring = open_keyring(home, NOW)
    write_kubeconfigs(home, keyring, "https://127.0.0.1:6443")
    path = write_node_kubeconfig(home, "node-7")

    found = {}
    for file in (home.kubeconfig, home.credential("controlplane"), path):
        config = yaml.safe_load(file.read_text())
        cluster = config["clusters"][0]["cluster"]
        user = user_of(keyring.component_key, config["users"][0]["user"]["token"])
        assert user
        assert base64.b64decode(cluster["certificate-authority-data"]) == keyring.authority
        found[user.name] = cluster["server"]

    assert path.name == "node-7.kubeconfig"
    assert found == {
        ADMIN: "https://127.0.0.1:6443",
        "system:serviceaccount:istio-system:istiod": "https://198.18.0.1:443",
        "system:node:node-7": "https://198.18.0.1:443",
    }


@pytest.mark.parametrize("name", ["ca.key", "ca.crt", "component.key", "service-account.key"])
def test_damaged_file_is_named(home: Home, name: str) -> None:
    """A broken key is never replaced in silence: everybody's tokens hang on it."""
    open_keyring(home, NOW)
    (home.api / name).write_bytes(b"damaged")

    with pytest.raises(ValueError, match=name):
        open_keyring(home, NOW)
