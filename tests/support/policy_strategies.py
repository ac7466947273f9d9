"""Random policies, workloads and connections from small alphabets, so that things meet."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from ambimesh.model.identity import Identity
from support.policy_reference import Connection, Destination, Policies

ROOT = "istio-system"
NAMESPACES = ("one", "two", ROOT)
ACCOUNTS = ("a", "b")
PORTS = (80, 8080)
ADDRESSES = ("10.0.0.1", "10.1.0.1", "fd00::1")

identities = st.builds(
    Identity, namespace=st.sampled_from(NAMESPACES), service_account=st.sampled_from(ACCOUNTS)
)
connections = st.builds(
    Connection,
    source=st.none() | identities,
    source_ip=st.sampled_from(ADDRESSES),
    destination_ip=st.sampled_from(ADDRESSES),
    port=st.sampled_from(PORTS),
)
_value = st.sampled_from(("x", "y"))
labels = st.fixed_dictionaries({}, optional={"app": _value, "tier": _value})
destinations = st.builds(Destination, namespace=st.sampled_from(NAMESPACES), labels=labels)

_principals = st.sampled_from(
    [
        "*",
        "cluster.local/ns/one/*",
        "*/sa/a",
        "cluster.local/ns/two/sa/b",
        "cluster.local/ns/one/sa/a",
    ]
)
_values: Mapping[str, st.SearchStrategy[str]] = {
    "principals": _principals,
    "namespaces": st.sampled_from(["*", "one", "t*", "*o"]),
    "serviceAccounts": st.sampled_from(["a", "one/a", "two/b"]),
    "ipBlocks": st.sampled_from(["10.0.0.0/16", "10.0.0.1", "fd00::/8", "0.0.0.0/0"]),
    "ports": st.sampled_from([str(port) for port in PORTS]),
    "paths": st.just("/admin"),
    "requestPrincipals": st.just("*"),
}


def _part(*fields: str) -> st.SearchStrategy[dict[str, list[str]]]:
    """Make a source or operation that has some of the fields and their negations."""
    optional = {}
    for name in fields:
        values = st.lists(_values[name], min_size=1, max_size=2)
        optional[name] = optional["not" + name[0].upper() + name[1:]] = values
    return st.fixed_dictionaries({}, optional=optional)


_sources = _part("principals", "namespaces", "serviceAccounts", "ipBlocks")
_condition_values = {
    "source.ip": _values["ipBlocks"],
    "source.namespace": _values["namespaces"],
    "source.principal": _principals,
    "destination.ip": _values["ipBlocks"],
    "destination.port": _values["ports"],
}


@st.composite
def _conditions(draw: st.DrawFn) -> dict[str, Any]:
    key = draw(st.sampled_from(sorted(_condition_values)))
    values = st.lists(_condition_values[key], min_size=1, max_size=2)
    field = draw(st.sampled_from(["values", "notValues"]))
    return {"key": key, field: draw(values)}


_l4_rules = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(
            st.fixed_dictionaries({"source": _sources.filter(bool)}), min_size=1, max_size=2
        ),
        "to": st.lists(
            st.fixed_dictionaries({"operation": _part("ports").filter(bool)}),
            min_size=1,
            max_size=2,
        ),
        "when": st.lists(_conditions(), min_size=1, max_size=2),
    },
)
_l7_rules = st.fixed_dictionaries(
    {
        "to": st.lists(
            st.fixed_dictionaries({"operation": _part("paths", "ports")}), min_size=1, max_size=2
        )
    },
    optional={
        "from": st.lists(
            st.fixed_dictionaries({"source": _part("requestPrincipals", "principals")}),
            min_size=1,
            max_size=1,
        )
    },
)
selectors = st.fixed_dictionaries({"matchLabels": labels})
_rules = st.lists(st.one_of(_l4_rules, _l4_rules, _l4_rules, _l7_rules), max_size=2)
_specs = st.fixed_dictionaries(
    {},
    optional={
        "selector": selectors,
        "action": st.sampled_from(["ALLOW", "DENY", "DENY", "AUDIT", "CUSTOM"]),
        "rules": _rules,
    },
)


def _named(kind: str, specs: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        lambda name, namespace, created, spec: {
            "apiVersion": "security.istio.io/v1",
            "kind": kind,
            "metadata": {
                "name": name,
                "namespace": namespace,
                "creationTimestamp": f"2026-01-01T00:00:0{created}Z",
            },
            "spec": spec,
        },
        st.sampled_from("pqr"),
        st.sampled_from(NAMESPACES),
        st.integers(0, 2),
        specs,
    )


authorization_policies = _named("AuthorizationPolicy", _specs)
_modes = st.sampled_from(["UNSET", "STRICT", "PERMISSIVE", "DISABLE"])
_mtls = st.fixed_dictionaries({"mode": _modes})
_ports_by_mode = st.fixed_dictionaries({}, optional={str(port): _mtls for port in PORTS})
_with_ports = st.fixed_dictionaries(
    {"selector": st.fixed_dictionaries({"matchLabels": labels.filter(bool)})},
    optional={"mtls": _mtls, "portLevelMtls": _ports_by_mode},
)
_without_ports = st.fixed_dictionaries({}, optional={"mtls": _mtls, "selector": selectors})
peer_authentications = _named("PeerAuthentication", st.one_of(_with_ports, _without_ports))


def unique(manifests: list[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Keep one object a name and namespace, as an API server does."""
    found = {(m["metadata"]["namespace"], m["metadata"]["name"]): m for m in manifests}
    return tuple(found.values())


policies = st.builds(
    Policies,
    authorization=st.lists(authorization_policies, max_size=3).map(unique),
    peer_authentication=st.lists(peer_authentications, max_size=3).map(unique),
)
