"""Names of objects: which are allowed, and how one is made from a prefix.

Source: RFC 1035 and RFC 1123 as Kubernetes applies them; the alphabet has no vowels.
"""

import re
import secrets

from ambimesh.local.apiserver.status import StatusError, invalid_field
from ambimesh.local.apiserver.types.kinds import Kind

_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_PREFIX_LIMIT = 63 - _SUFFIX_LENGTH

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PATH_SEGMENT = re.compile(r"[^/%]+")

_SUBDOMAIN_WORDS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or"
    " '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used"
    r" for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_WORDS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and"
    " must start and end with an alphanumeric character (e.g. 'my-name', or '123-abc', regex used"
    " for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_LABEL_1035_WORDS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an"
    " alphabetic character, and end with an alphanumeric character (e.g. 'my-name', or 'abc-123',"
    " regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_PATH_KINDS = frozenset({"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"})


def generate(prefix: str) -> str:
    """Make a name of a prefix and five random characters."""
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))
    return prefix[:_PREFIX_LIMIT] + suffix


def require_valid(kind: Kind, name: str) -> None:
    """Check that an object of this kind may have this name.

    Errors: StatusError 422 in Kubernetes' words.
    """
    words = _complaint(kind, name)
    if words:
        raise invalid_field(kind, name, "metadata.name", f'Invalid value: "{name}": {words}')


def _complaint(kind: Kind, name: str) -> str:
    if kind.kind in _PATH_KINDS:
        usable = _PATH_SEGMENT.fullmatch(name) and name not in (".", "..")
        return "" if usable else "may not contain '/' or '%', or be '.' or '..'"
    if kind.kind == "Namespace":
        return "" if _LABEL.fullmatch(name) else _LABEL_WORDS
    if kind.kind == "Service":
        return "" if _LABEL_1035.fullmatch(name) else _LABEL_1035_WORDS
    if len(name) > 253:
        return "must be no more than 253 characters"
    return "" if _SUBDOMAIN.fullmatch(name) else _SUBDOMAIN_WORDS


def required(kind: Kind) -> StatusError:
    """Refuse an object that has neither a name nor a prefix for one."""
    return invalid_field(
        kind,
        "",
        "metadata.name",
        "Required value: name or generateName is required",
        "FieldValueRequired",
    )
