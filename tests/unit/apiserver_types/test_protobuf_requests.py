"""Protobuf request bodies of kubectl."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ambimesh.local.apiserver.http.protobuf import ProtobufError, decode_request
from ambimesh.local.apiserver.http.protobuf_table import API_VERSIONS, MESSAGES
from ambimesh.local.apiserver.types.kinds import by_kind
from ambimesh.local.apiserver.types.validate import check

GOLDEN = Path(__file__).parents[2] / "golden/apiserver/protobuf_requests.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())

# kubectl's bytes for a Role, and for a Deployment with host aliases.
ROLE = (
    "azhzAAokChxyYmFjLmF1dGhvcml6YXRpb24uazhzLmlvL3YxEgRSb2xlEhMKEQoBchIAGgAiACoAMgA4AEIAGgAiAA=="
)
ALIASES = (
    "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50EmsKEQoBZBIAGgAiACoAMgA4AEIAEkgSABo8ChAKABIAGgAiACoAMgA4"
    "AEIAEigaADIAQgBKAFIAWABgAGgAggEAigEAmgEAugEJCgcxLjEuMS4xwgEAIgIKACgAOAAaDAgAEAAYACAAKAA4ABoA"
    "IgA="
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["object"]["kind"])
def test_decode_gives_what_kubectl_encoded(case: dict[str, Any]) -> None:
    """Bytes made by Kubernetes' own serializer come back as the object they were made from."""
    assert decode_request(base64.b64decode(case["body"])) == case["object"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (ROLE, "does not read Role (rbac.authorization.k8s.io/v1) in protobuf"),
        (ALIASES, "does not read field 23 of PodSpec in protobuf"),
    ],
)
def test_decode_refuses_what_it_would_lose(body: str, words: str) -> None:
    """A field that is not understood must not vanish; the refusal says what to do instead."""
    with pytest.raises(ProtobufError, match="use it with -f") as refused:
        decode_request(base64.b64decode(body))

    assert words in str(refused.value)


def test_fields_of_the_table_are_fields_of_the_kinds() -> None:
    """Decoded objects go through validation: their names and types must be known there."""
    for case in CASES:
        obj = case["object"]
        kind = by_kind(obj["apiVersion"], obj["kind"])
        assert kind is not None
        checked = check(kind, obj, is_whole=False)
        assert checked.warnings == ()
    assert API_VERSIONS.keys() <= MESSAGES.keys()
    for fields in MESSAGES.values():
        for field in fields.values():
            assert field.type in MESSAGES or field.type[0].islower()


@given(body=st.binary(max_size=80), has_magic=st.booleans())
@settings(max_examples=500)
def test_decode_of_any_bytes_raises_nothing_but_its_error(body: bytes, has_magic: bool) -> None:
    """What a client sends cannot crash the server."""
    with contextlib.suppress(ProtobufError):
        decode_request((b"k8s\x00" if has_magic else b"") + body)


@given(case=st.sampled_from(CASES), data=st.data())
@settings(max_examples=1000)
def test_decode_of_damaged_bytes_raises_nothing_but_its_error(
    case: dict[str, Any], data: st.DataObject
) -> None:
    """Real bodies with some bytes changed, cut off or added."""
    body = bytearray(base64.b64decode(case["body"]))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))

    for damaged in (bytes(body), bytes(body[:cut])):
        with contextlib.suppress(ProtobufError):
            decode_request(damaged)
