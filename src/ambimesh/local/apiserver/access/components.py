"""Credentials of the mesh's own components: tokens that name their user and prove it by a MAC.

Whoever may read the key in the home directory can make one (the supervisor, for a new node),
and the server needs no table of them.
"""

import base64
import binascii
import hashlib
import hmac
import re

from ambimesh.local.apiserver.access.user import User, account_name, component, node_name

ADMIN = "ambimesh:admin"
CONTROL_PLANE = account_name("istio-system", "istiod")

_PREFIX = "ambi1."
_NODE = re.compile(r"system:node:[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


def token_for(key: bytes, name: str) -> str:
    """Make the token of a component."""
    text = base64.urlsafe_b64encode(name.encode()).decode().rstrip("=")
    return f"{_PREFIX}{text}.{_mac(key, name)}"


def token_for_node(key: bytes, node: str) -> str:
    """Make the token of the agent of a node."""
    return token_for(key, node_name(node))


def user_of(key: bytes, token: str) -> User | None:
    """Give the user a token stands for; None when it is not a component's, or not genuine."""
    if not token.startswith(_PREFIX):
        return None
    text, _, proof = token.removeprefix(_PREFIX).partition(".")
    try:
        name = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        return None
    if not hmac.compare_digest(_mac(key, name).encode(), proof.encode()):
        return None
    # A genuine MAC over a name outside this closed set would be our own mistake: fail closed.
    is_known = name in (ADMIN, CONTROL_PLANE) or _NODE.fullmatch(name) is not None
    return component(name) if is_known else None


def _mac(key: bytes, name: str) -> str:
    return hmac.new(key, b"ambimesh component\0" + name.encode(), hashlib.sha256).hexdigest()
