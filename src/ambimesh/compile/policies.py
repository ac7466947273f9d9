"""Every policy of the mesh: what node proxies get, and what each workload must list."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from ambimesh.compile.authorization import CompiledPolicy, compile_authorization
from ambimesh.compile.condition import Verdict
from ambimesh.compile.peer_authentication import (
    PeerRule,
    PeerRules,
    convert,
    peer_policies,
    peer_rules,
    read_peer_authentication,
    static_strict,
)
from ambimesh.compile.selection import Labels, SelectorIndex
from ambimesh.compile.table import Table
from ambimesh.kube.istio import AuthorizationPolicy, PeerAuthentication
from ambimesh.kube.meta import Kind, Resource
from ambimesh.model.mesh import Mesh
from ambimesh.model.names import PolicyKey, ResourceName, policy_key
from ambimesh.model.policy import Authorization

Key = tuple[str, str]  # (namespace, name)

_STATIC: Final = "static"


@dataclass(frozen=True, slots=True)
class Affected:
    """Workloads whose list of policies may have changed. An empty selector: all of them."""

    namespace: str | None  # None: any
    selector: Labels


@dataclass(frozen=True, slots=True)
class ObjectName:
    """An object that a person wrote."""

    kind: Kind
    namespace: str
    name: str


class PolicyBook:
    """Policies as they are now. Each change tells which workloads to look at again."""

    def __init__(self, mesh: Mesh) -> None:
        self.table: Table[ResourceName, Authorization] = Table()
        self.verdicts: Table[ObjectName, Verdict] = Table()
        self._mesh = mesh
        self._compiled: dict[Key, CompiledPolicy] = {}
        self._selectors: SelectorIndex[PolicyKey] = SelectorIndex()
        self._peers: defaultdict[str, dict[str, PeerRule]] = defaultdict(dict)
        self._rules: dict[str, PeerRules] = {}  # by namespace, of those that were asked for

    def put_authorization(self, key: Key, policy: AuthorizationPolicy | None) -> list[Affected]:
        """Take a policy as it is now, or take it away."""
        old = self._compiled.pop(key, None)
        new = compile_authorization(policy, self._mesh) if policy is not None else None
        if new is not None:
            self._compiled[key] = new
        authorization = new.authorization if new is not None else None
        self.table.replace(
            (AuthorizationPolicy, key),
            [(authorization.resource_name, authorization)] if authorization is not None else (),
        )
        self._judge(
            ObjectName(AuthorizationPolicy.KIND, *key),
            policy,
            new.verdict if new is not None else None,
        )
        listed = policy_key(*key)
        if new is not None and new.selector is not None:
            self._selectors.put(listed, key[0], new.selector)
        else:
            self._selectors.remove(listed)
        before = old.selector if old is not None else None
        after = new.selector if new is not None else None
        if before == after:
            return []
        namespace = None if key[0] == self._mesh.root_namespace else key[0]
        return [Affected(namespace, labels) for labels in (before, after) if labels is not None]

    def put_peer_authentication(self, key: Key, item: PeerAuthentication | None) -> list[Affected]:
        """Take a PeerAuthentication as it is now, or take it away."""
        namespace, name = key
        rule = read_peer_authentication(item, self._mesh) if item is not None else None
        self._judge(
            ObjectName(PeerAuthentication.KIND, *key),
            item,
            rule.verdict if rule is not None else None,
        )
        if rule is not None:
            self._peers[namespace][name] = rule
        else:
            self._peers[namespace].pop(name, None)
            if not self._peers[namespace]:
                del self._peers[namespace]
        static = static_strict(self._mesh)
        self.table.replace(_STATIC, [(static.resource_name, static)] if self._peers else ())
        touched = {namespace}
        if namespace == self._mesh.root_namespace:
            touched |= self._peers.keys() | self._rules.keys()
        return [affected for each in touched for affected in self._reconsider(each)]

    def listed(self, namespace: str, labels: Labels) -> tuple[PolicyKey, ...]:
        """Give the policies that a workload must list, in the order of the wire."""
        found = self._selectors.selecting(namespace, labels)
        if namespace != self._mesh.root_namespace:
            found += self._selectors.selecting(self._mesh.root_namespace, labels)
        rules = self._rules.get(namespace)
        if rules is None:
            rules = self._rules[namespace] = self._choose(namespace)
        return (*sorted(found), *peer_policies(rules, labels))

    def _reconsider(self, namespace: str) -> Iterable[Affected]:
        rules = self._choose(namespace)
        converted = (convert(rule, rules) for rule in rules.workloads)
        self.table.replace(
            (PeerAuthentication, namespace),
            [(policy.resource_name, policy) for policy in converted if policy is not None],
        )
        if self._rules.get(namespace, rules) != rules:
            yield Affected(namespace, {})
        if namespace in self._rules:
            self._rules[namespace] = rules

    def _choose(self, namespace: str) -> PeerRules:
        own: Mapping[str, PeerRule] = self._peers.get(namespace, {})
        root: Mapping[str, PeerRule] = self._peers.get(self._mesh.root_namespace, {})
        mine = () if namespace == self._mesh.root_namespace else own.values()
        return peer_rules([*mine, *root.values()], namespace, self._mesh)

    def _judge(self, name: ObjectName, item: Resource | None, verdict: Verdict | None) -> None:
        if item is None or verdict is None:
            self.verdicts.replace(name, ())
        else:
            dated = replace(verdict, generation=item.metadata.generation)
            self.verdicts.replace(name, [(name, dated)])
