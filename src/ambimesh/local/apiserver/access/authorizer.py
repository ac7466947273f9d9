"""Who may do what: a few fixed rules instead of RBAC.

Everything that no rule allows is refused. What depends on the object itself (a node agent
may write only pods of its node) is checked in `node_restriction`, which comes after.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ambimesh.local.apiserver.access.attributes import Attributes
from ambimesh.local.apiserver.access.components import CONTROL_PLANE
from ambimesh.local.apiserver.access.user import MASTERS, User

READ = frozenset({"get", "list", "watch"})
WRITE = frozenset({"create", "update", "patch", "delete"})
ANY = frozenset({"*"})

GATEWAY = "gateway.networking.k8s.io"
ISTIO = frozenset(
    {"networking.istio.io", "security.istio.io", "telemetry.istio.io", "extensions.istio.io"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Allows some verbs on some resources; an empty set of names means every name."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    namespaces: frozenset[str] = ANY
    names: frozenset[str] = ANY

    def allows(self, wanted: Attributes) -> bool:
        """Tell whether this rule is about the attempted action."""
        return (
            _has(self.verbs, wanted.verb)
            and _has(self.groups, wanted.group)
            and (_has(self.resources, wanted.full_resource) or f"*/{wanted.door}" in self.resources)
            and _has(self.namespaces, wanted.namespace)
            and _has(self.names, wanted.name)
        )


def _has(allowed: frozenset[str], value: str) -> bool:
    return "*" in allowed or value in allowed


def _rule(verbs: frozenset[str], group: str, *resources: str) -> Rule:
    return Rule(verbs=verbs, groups=frozenset({group}), resources=frozenset(resources))


CREATE = frozenset({"create"})
EVERYONE = (
    _rule(
        CREATE,
        "authorization.k8s.io",
        "selfsubjectaccessreviews",
        "selfsubjectrulesreviews",
    ),
    _rule(CREATE, "authentication.k8s.io", "selfsubjectreviews"),
)
_REVIEWS = (
    _rule(CREATE, "authentication.k8s.io", "tokenreviews"),
    _rule(CREATE, "authorization.k8s.io", "subjectaccessreviews", "localsubjectaccessreviews"),
)
_EVENTS = (
    _rule(CREATE | {"patch", "update"}, "", "events"),
    _rule(CREATE | {"patch", "update"}, "events.k8s.io", "events"),
)

NODE_AGENT = (
    *_REVIEWS,
    *_EVENTS,
    _rule(READ, "", "nodes", "namespaces", "pods", "services", "serviceaccounts"),
    _rule(READ, "discovery.k8s.io", "endpointslices"),
    _rule(WRITE, "", "pods", "pods/status"),
    _rule(WRITE, "", "nodes", "nodes/status"),
    _rule(CREATE, "", "serviceaccounts/token"),
    Rule(
        verbs=READ | WRITE,
        groups=frozenset({"coordination.k8s.io"}),
        resources=frozenset({"leases"}),
        namespaces=frozenset({"kube-node-lease"}),
    ),
    Rule(  # the root certificates that it puts into every pod
        verbs=READ,
        groups=frozenset({""}),
        resources=frozenset({"configmaps"}),
        names=frozenset({"kube-root-ca.crt", "istio-ca-root-cert"}),
    ),
    Rule(
        verbs=READ,
        groups=frozenset({""}),
        resources=frozenset({"configmaps"}),
        namespaces=frozenset({"istio-system"}),
    ),
)

_CONTROL_PLANE_READS = frozenset(
    {
        "configmaps",
        "endpoints",
        "events",
        "namespaces",
        "nodes",
        "pods",
        "replicationcontrollers",
        "serviceaccounts",
        "services",
    }
)
CONTROL_PLANE_RULES = (
    *_REVIEWS,
    *_EVENTS,
    Rule(verbs=READ, groups=frozenset({""}), resources=_CONTROL_PLANE_READS),
    Rule(
        verbs=READ,
        groups=ISTIO
        | {GATEWAY, "discovery.k8s.io", "apps", "autoscaling", "policy", "apiextensions.k8s.io"},
        resources=ANY,
    ),
    _rule(WRITE, "", "configmaps", "services", "serviceaccounts"),
    _rule(WRITE, "apps", "deployments"),
    _rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    _rule(WRITE, "policy", "poddisruptionbudgets"),
    _rule(WRITE, GATEWAY, "gatewayclasses"),
    _rule(WRITE, "networking.istio.io", "workloadentries"),
    _rule(WRITE, "", "services/status"),
    Rule(verbs=WRITE, groups=ISTIO | {GATEWAY}, resources=frozenset({"*/status"})),
    Rule(
        verbs=READ | WRITE,
        groups=frozenset({"coordination.k8s.io"}),
        resources=frozenset({"leases"}),
        namespaces=frozenset({"istio-system"}),
    ),
    Rule(
        verbs=READ | WRITE,
        groups=frozenset({""}),
        resources=frozenset({"secrets"}),
        namespaces=frozenset({"istio-system"}),
    ),
)
MASTER = (Rule(verbs=ANY, groups=ANY, resources=ANY),)

_PUBLIC_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version"})
_DISCOVERY_PATHS = frozenset({"/api", "/apis", "/openapi", "/.well-known", "/openid"})

References = Callable[[str, str, str, str], bool]
"""Tells whether a pod on a node uses an object: node, resource, namespace, name."""


class Authorizer:
    """Decides from who asks and what they want, without looking at the body."""

    def __init__(self, references: References) -> None:
        self._references = references

    def allows(self, user: User, wanted: Attributes) -> bool:
        """Tell whether the user may; what no rule allows is refused."""
        if MASTERS in user.groups:
            return True
        if not wanted.resource:
            root = "/" + wanted.path.strip("/").partition("/")[0]
            return wanted.verb == "get" and (root in _DISCOVERY_PATHS or is_public(wanted.path))
        if any(rule.allows(wanted) for rule in rules_of(user)):
            return True
        return self._is_used_on_node(user, wanted)

    def _is_used_on_node(self, user: User, wanted: Attributes) -> bool:
        """Let a node agent read what the pods on its node refer to, by name."""
        is_reading = wanted.verb in READ and wanted.resource in ("secrets", "configmaps")
        if not (user.node and is_reading and not wanted.group and not wanted.door):
            return False
        return bool(wanted.name) and self._references(
            user.node, wanted.resource, wanted.namespace, wanted.name
        )


def rules_of(user: User) -> Iterator[Rule]:
    """Give the rules that hold for a user."""
    if MASTERS in user.groups:
        yield from MASTER
    yield from EVERYONE
    if user.node:
        yield from NODE_AGENT
    if user.name == CONTROL_PLANE:
        yield from CONTROL_PLANE_RULES


def is_public(path: str) -> bool:
    """Tell whether a path is answered without a token: health and version."""
    return "/" + path.strip("/").partition("/")[0] in _PUBLIC_PATHS
