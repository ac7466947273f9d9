"""Rules between the fields of an object, which types alone cannot say."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ambimesh.local.apiserver.types import cause as causes
from ambimesh.local.apiserver.types.cause import Cause
from ambimesh.local.apiserver.types.kinds import Kind
from ambimesh.local.apiserver.types.reading import items, members
from ambimesh.local.apiserver.types.rules_gateway import GATEWAY_RULES
from ambimesh.local.apiserver.types.rules_istio import ISTIO_RULES
from ambimesh.local.apiserver.types.rules_native import NATIVE_RULES

JsonObject = dict[str, Any]
Rule = Callable[[JsonObject], Iterator[Cause]]

_ANNOTATIONS_LIMIT_BYTES = 256 << 10

_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_QUALIFIED = re.compile(rf"(?:(?P<prefix>[a-z0-9]([-a-z0-9.]*[a-z0-9])?)/)?(?P<name>{_NAME})")
_LABEL_VALUE = re.compile(rf"({_NAME})?")
_NAME_WORDS = (
    "a name has at most 63 letters, digits, '-', '_' and '.', starts and ends with a letter or"
    " digit, and may have a DNS name and '/' before it (e.g. 'example.com/MyName')"
)
_VALUE_WORDS = (
    "a label value is empty or has at most 63 letters, digits, '-', '_' and '.', and starts and"
    " ends with a letter or digit (e.g. 'MyValue')"
)

_RULES: Mapping[str, Rule] = {**NATIVE_RULES, **ISTIO_RULES, **GATEWAY_RULES}


def broken_rules(kind: Kind, obj: JsonObject) -> Iterator[Cause]:
    """Give what is wrong with an object whose types are right; defaults need not be filled in."""
    yield from _metadata(members(obj, "metadata"), "metadata")
    yield from _metadata(members(obj, "spec", "template", "metadata"), "spec.template.metadata")
    rule = _RULES.get(kind.kind)
    if rule is not None:
        yield from rule(obj)


def _metadata(metadata: JsonObject, path: str) -> Iterator[Cause]:
    for name, value in members(metadata, "labels").items():
        if not _is_qualified_name(name):
            yield causes.invalid(f"{path}.labels", name, _NAME_WORDS)
        text = value or ""
        if len(text) > 63 or not _LABEL_VALUE.fullmatch(text):
            yield causes.invalid(f"{path}.labels", text, _VALUE_WORDS)
    annotations = members(metadata, "annotations")
    for name in annotations:
        if not _is_qualified_name(name.lower()):
            yield causes.invalid(f"{path}.annotations", name, _NAME_WORDS)
    size = sum(len(name) + len(value or "") for name, value in annotations.items())
    if size > _ANNOTATIONS_LIMIT_BYTES:
        yield causes.too_long(f"{path}.annotations", _ANNOTATIONS_LIMIT_BYTES)
    for index, name in enumerate(items(metadata, "finalizers")):
        if not _is_qualified_name(name):
            yield causes.invalid(f"{path}.finalizers[{index}]", name, _NAME_WORDS)


def _is_qualified_name(name: str) -> bool:
    found = _QUALIFIED.fullmatch(name)
    return found is not None and len(found["name"]) <= 63 and len(found["prefix"] or "") <= 253
