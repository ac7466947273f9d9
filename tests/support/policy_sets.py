"""Sets of policies for live servers: some written by hand, many generated from a fixed seed.

Each set is for one server, which it selects by the label ``set``; so all sets are in force at the
same time, and one round of connections tells every verdict.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from support.running_mesh import manifest

Object = dict[str, Any]

SECURITY = "security.istio.io/v1"
SEED = 20_260_301
GENERATED = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Alphabet:
    """What policies speak of: everything that some client has, and that others have not."""

    namespaces: Sequence[str]  # of clients
    accounts: Sequence[tuple[str, str]]  # of clients: namespace and name
    blocks: Sequence[str]  # that some of the clients are in
    ports: Sequence[int]  # of every server

    @property
    def values(self) -> Mapping[str, Sequence[str]]:
        """Give the values for each field of a source or operation."""
        return {
            "principals": [
                *(f"cluster.local/ns/{ns}/sa/{name}" for ns, name in self.accounts),
                *(f"cluster.local/ns/{ns}/*" for ns in self.namespaces),
                *(f"*/sa/{name}" for _, name in self.accounts),
                "*",
            ],
            "namespaces": [*self.namespaces, "*", f"*{self.namespaces[0][-2:]}"],
            "serviceAccounts": [f"{ns}/{name}" for ns, name in self.accounts],
            "ipBlocks": self.blocks,
            "ports": [str(port) for port in self.ports],
        }


Rule = dict[str, Any]


def hand_written(alphabet: Alphabet) -> Iterator[tuple[str, list[Object]]]:
    """Give a policy of each action for each kind of condition, and modes of mTLS."""
    first = {name: values[0] for name, values in alphabet.values.items()}
    for action in ("ALLOW", "DENY"):
        for field in ("principals", "namespaces", "serviceAccounts", "ipBlocks"):
            rule = {"from": [{"source": {field: [first[field]]}}]}
            yield f"{action.lower()}-{field.lower()}", [_policy("one", action, [rule])]
        ports = {"to": [{"operation": {"ports": [first["ports"]]}}]}
        yield f"{action.lower()}-ports", [_policy("one", action, [ports])]
    yield "strict", [_mtls("one", {"mtls": {"mode": "STRICT"}})]
    by_port = {str(alphabet.ports[0]): {"mode": "STRICT"}}
    yield "strict-port", [_mtls("one", {"portLevelMtls": by_port})]
    yield "allow-nothing", [_policy("one", "ALLOW", [])]
    yield "layer-7", [_policy("one", "DENY", [{"to": [{"operation": {"paths": ["/x"]}}]}])]
    yield "no-policy", []


def generated(alphabet: Alphabet) -> Iterator[tuple[str, list[Object]]]:
    """Give random sets, the same in every run."""
    draw = random.Random(SEED)
    for number in range(GENERATED):
        policies = [
            _policy(f"p{each}", draw.choice(("ALLOW", "ALLOW", "DENY")), _rules(draw, alphabet))
            for each in range(draw.randint(1, 3))
        ]
        if draw.random() < 0.3:
            mode = draw.choice(("STRICT", "PERMISSIVE"))
            policies.append(_mtls("m", {"mtls": {"mode": mode}}))
        yield f"generated-{number}", policies


def for_server(name: str, namespace: str, policies: Sequence[Object]) -> list[Object]:
    """Give the objects of a set, attached to one server."""
    return [
        manifest(SECURITY, kind, namespace, f"{name}-{policy['name']}", {
            "spec": {"selector": {"matchLabels": {"set": name}}, **policy["spec"]},
        })
        for policy in policies
        for kind in (policy["kind"],)
    ]  # fmt: skip


def _policy(name: str, action: str, rules: list[Rule]) -> Object:
    spec = {"action": action, "rules": rules}
    return {"kind": "AuthorizationPolicy", "name": name, "spec": spec}


def _mtls(name: str, spec: Object) -> Object:
    return {"kind": "PeerAuthentication", "name": name, "spec": spec}


def _rules(draw: random.Random, alphabet: Alphabet) -> list[Rule]:
    return [_rule(draw, alphabet.values) for _ in range(draw.randint(1, 2))]


def _rule(draw: random.Random, values: Mapping[str, Sequence[str]]) -> Rule:
    rule: Rule = {}
    if draw.random() < 0.8:
        rule["from"] = [{"source": _source(draw, values)} for _ in range(draw.randint(1, 2))]
    if draw.random() < 0.4:
        rule["to"] = [{"operation": _some(draw, values, ["ports"])}]
    if draw.random() < 0.3 or not rule:
        rule["when"] = [_condition(draw, values)]
    return rule


def _source(draw: random.Random, values: Mapping[str, Sequence[str]]) -> Object:
    # The API refuses serviceAccounts together with principals or namespaces.
    peers = draw.choice((["principals"], ["namespaces"], ["principals", "namespaces"],
                         ["serviceAccounts"], []))  # fmt: skip
    blocks = ["ipBlocks"] if not peers or draw.random() < 0.3 else []
    return _some(draw, values, [*peers, *blocks])


def _some(
    draw: random.Random, values: Mapping[str, Sequence[str]], fields: Sequence[str]
) -> Object:
    found: Object = {}
    for field in fields:
        negated = "not" + field[0].upper() + field[1:]
        name = negated if draw.random() < 0.3 else field
        found[name] = draw.sample(values[field], k=min(draw.randint(1, 2), len(values[field])))
    return found


def _condition(draw: random.Random, values: Mapping[str, Sequence[str]]) -> Object:
    keys: Mapping[str, str] = {
        "source.ip": "ipBlocks",
        "source.namespace": "namespaces",
        "source.principal": "principals",
        "destination.port": "ports",
    }
    key = draw.choice(sorted(keys))
    field = draw.choice(("values", "notValues"))
    return {"key": key, field: [draw.choice(values[keys[key]])]}
