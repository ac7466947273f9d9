"""Acting as another user: `kubectl --as`, for those who may do everything.

Source: the Impersonate-* headers of Kubernetes. Whoever may not is refused, never taken for
themselves: an answer about the wrong user would be worse than none.
"""

from collections.abc import Mapping

from ambimesh.local.apiserver.access.user import (
    AUTHENTICATED,
    MASTERS,
    User,
    account_groups,
    read_account,
)
from ambimesh.local.apiserver.status import StatusError

_USER = "impersonate-user"
_GROUP = "impersonate-group"
_PREFIX = "impersonate-"


def impersonate(user: User, headers: Mapping[str, str]) -> User:
    """Give the user a request is made as; the caller, when it does not say.

    Errors: StatusError 403; 400 for groups without a user.
    """
    if not any(name.startswith(_PREFIX) for name in headers):
        return user
    name = headers.get(_USER, "")
    if not name:
        raise StatusError(400, "requested a group, uid or extra to impersonate without a user")
    if MASTERS not in user.groups:
        why = f'User "{user.name}" cannot impersonate resource "users" in API group ""'
        message = f'users "{name}" is forbidden: {why} at the cluster scope'
        raise StatusError(403, message, details={"name": name, "kind": "users"})
    given = tuple(filter(None, headers.get(_GROUP, "").split(",")))
    account = read_account(name)
    groups = given or (account_groups(account.namespace) if account else ())
    return User(name=name, groups=tuple(dict.fromkeys((*groups, AUTHENTICATED))))
