"""Keys and kubeconfigs in the home directory: made once, kept, readable by the owner only."""

import base64
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml
from cryptography import x509
from joserfc.jwk import ECKey

from ambimesh.local import addresses
from ambimesh.local.apiserver.access import certificates, components
from ambimesh.local.home import Home
from ambimesh.node.private_file import write_private

_DOMAIN = "cluster.local"
SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    f"kubernetes.default.svc.{_DOMAIN}",
    "127.0.0.1",
    "::1",
    *(str(address) for address in addresses.control().both),
    *(str(network[1]) for network in addresses.services().both),
)
_COMPONENT_KEY_BYTES = 32
INSIDE_SERVER = f"https://{addresses.control().v4}:{addresses.API_PORT}"


@dataclass(frozen=True, slots=True)
class Keyring:
    """What the server needs to be believed and to believe."""

    authority: bytes  # PEM certificate; goes into kubeconfigs and kube-root-ca.crt
    certificate_file: Path
    key_file: Path
    component_key: bytes
    token_key: ECKey


def open_keyring(home: Home, now: datetime) -> Keyring:
    """Read the keys of a home directory; makes what is missing, renews what runs out.

    Errors: OSError; ValueError for a damaged file.
    """
    folder = home.api
    authority_key = _key(folder / "ca.key")
    authority = _certificate(
        folder / "ca.crt",
        lambda: certificates.new_authority(authority_key, now),
        lambda _: True,
    )
    server_key = _key(folder / "server.key")
    _certificate(
        folder / "server.crt",
        lambda: certificates.new_server(server_key, (authority, authority_key), SERVER_NAMES, now),
        lambda found: (
            found.issuer == authority.subject
            and found.public_key() == server_key.public_key()
            and certificates.is_usable(found, SERVER_NAMES, now)
        ),
    )
    token_key = _key(folder / "service-account.key")
    return Keyring(
        authority=certificates.to_pem(authority),
        certificate_file=folder / "server.crt",
        key_file=folder / "server.key",
        component_key=_component_key(home),
        token_key=ECKey.import_key(certificates.key_to_pem(token_key)),
    )


def write_kubeconfigs(home: Home, keyring: Keyring, admin_server: str) -> None:
    """Write the kubeconfigs of the administrator and of the control plane.

    Errors: OSError.
    """
    key = keyring.component_key
    admin = _kubeconfig(
        keyring.authority, admin_server, "admin", components.token_for(key, components.ADMIN)
    )
    write_private(home.kubeconfig, admin)
    token = components.token_for(key, components.CONTROL_PLANE)
    inside = _kubeconfig(keyring.authority, INSIDE_SERVER, "controlplane", token)
    write_private(home.credential("controlplane"), inside)


def write_node_kubeconfig(home: Home, node: str) -> Path:
    """Write the kubeconfig of a node's agent; works whether or not the server runs.

    Errors: OSError, also when the server has never been started in this home.
    """
    authority = (home.api / "ca.crt").read_bytes()
    token = components.token_for_node(_component_key(home), node)
    path = home.credential(f"node-{node}" if not node.startswith("node-") else node)
    write_private(path, _kubeconfig(authority, INSIDE_SERVER, node, token))
    return path


def _component_key(home: Home) -> bytes:
    path = home.api / "component.key"
    if not path.exists():
        write_private(path, secrets.token_bytes(_COMPONENT_KEY_BYTES))
    key = path.read_bytes()
    if len(key) != _COMPONENT_KEY_BYTES:
        raise ValueError(f"{path} is damaged: it has {len(key)} bytes")
    return key


def _key(path: Path) -> certificates.PrivateKey:
    if not path.exists():
        write_private(path, certificates.key_to_pem(certificates.new_key()))
    try:
        return certificates.key_from_pem(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def _certificate(
    path: Path,
    make: Callable[[], x509.Certificate],
    is_good: Callable[[x509.Certificate], bool],
) -> x509.Certificate:
    if path.exists():
        try:
            found = x509.load_pem_x509_certificate(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is damaged: {error}") from error
        if is_good(found):
            return found
    made = make()
    write_private(path, certificates.to_pem(made))
    return made


def _kubeconfig(authority: bytes, server: str, user: str, token: str) -> bytes:
    data = base64.b64encode(authority).decode()
    cluster = {"server": server, "certificate-authority-data": data}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "ambimesh", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "ambimesh", "context": {"cluster": "ambimesh", "user": user}}],
            "current-context": "ambimesh",
        },
        sort_keys=False,
    ).encode()
