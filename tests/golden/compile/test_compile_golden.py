"""Objects in, resources out: what a human approved. ``UPDATE_GOLDEN=1`` writes the results."""

import base64
import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from google.protobuf import json_format

from ambimesh.compile.incremental import INPUTS, MeshCompiler
from ambimesh.compile.policies import ObjectName
from ambimesh.kube.meta import Resource
from ambimesh.model.mesh import Mesh
from ambimesh.wire.addresses import address_from_wire, address_to_wire
from ambimesh.wire.policies import authorization_from_wire, authorization_to_wire

CASES = sorted(Path(__file__).parent.joinpath("cases").glob("*/input.yaml"))
KINDS: Mapping[str, type[Resource]] = {kind.KIND.kind: kind for kind in INPUTS}


@pytest.mark.parametrize("given", CASES, ids=lambda path: path.parent.name)
def test_objects_compile_to_what_was_approved(given: Path) -> None:
    """Names, uids, fields and verdicts are those of the approved file."""
    approved = given.with_name("expected.yaml")

    result = render(compiled(given))

    if os.environ.get("UPDATE_GOLDEN"):
        approved.write_text(result)
    assert result == approved.read_text()


@pytest.mark.parametrize("given", CASES, ids=lambda path: path.parent.name)
def test_compiled_values_survive_the_wire(given: Path) -> None:
    """What is written to the wire reads back as the same value."""
    compiler = compiled(given)

    for address in compiler.addresses.values.values():
        assert address_from_wire(address_to_wire(address)) == address
    for policy in compiler.authorizations.values():
        assert authorization_from_wire(authorization_to_wire(policy)) == policy


def compiled(given: Path) -> MeshCompiler:
    """Compile every object of a file."""
    compiler = MeshCompiler(Mesh())
    for document in yaml.safe_load_all(given.read_text()):
        kind = KINDS[document["kind"]]
        item = msgspec.convert(document, kind)
        compiler.put(kind, item.key, item)
    compiler.take()
    return compiler


def render(compiler: MeshCompiler) -> str:
    """Write everything that came out, in the order of names."""
    addresses = {
        str(name): _plain(json_format.MessageToDict(address_to_wire(value)))
        for name, value in sorted(compiler.addresses.values.items())
    }
    policies = {
        str(name): _plain(json_format.MessageToDict(authorization_to_wire(value)))
        for name, value in sorted(compiler.authorizations.items())
    }
    verdicts = {
        _title(name): f"{verdict.type}={verdict.accepted} {verdict.reason}: {verdict.message}"
        for name, verdict in compiler.verdicts.items()
    }
    parts = {"addresses": addresses, "authorizations": policies, "verdicts": verdicts}
    found = {name: part for name, part in parts.items() if part}
    return yaml.safe_dump(found, sort_keys=True, width=120)


def _title(name: ObjectName) -> str:
    return f"{name.kind.kind} {name.namespace}/{name.name}"


def _plain(value: Any, key: str = "") -> Any:
    """Write addresses as text; on the wire they are bytes, in JSON base64."""
    if isinstance(value, dict):
        return {name: _plain(entry, name) for name, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry, key) for entry in value]
    if key in {"address", "addresses"} and isinstance(value, str):
        return str(ip_address(base64.b64decode(value)))
    return value
