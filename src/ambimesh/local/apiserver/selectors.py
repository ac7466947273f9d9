"""Label and field selectors, from their text and from their object form.

Source: k8s.io/apimachinery labels.Parse and fields.ParseSelector.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ambimesh.local.apiserver.status import bad_request
from ambimesh.local.apiserver.store.entry import Entry

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]

_KEY = r"[A-Za-z0-9][-A-Za-z0-9_./]*"
_SET = re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)")
_EQUALITY = re.compile(rf"({_KEY})\s*(==|=|!=)\s*([-A-Za-z0-9_.]*)")
_PRESENCE = re.compile(rf"(!?)\s*({_KEY})")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")
_FIELD = re.compile(r"([A-Za-z0-9_.]+)\s*(==|=|!=)(.*)")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the labels meet this condition; ``NotIn`` is met by an absent label."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Conditions of which all must hold; without any, everything matches."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an object with these labels is selected."""
        return all(requirement.matches(labels) for requirement in self.requirements)


def parse_labels(text: str) -> LabelSelector:
    """Parse ``a=b,c!=d,e in (f,g),h,!i``.

    Errors: StatusError 400 with what could not be parsed.
    """
    parts = (part.strip() for part in _COMMA_OUTSIDE_PARENTHESES.split(text))
    return LabelSelector(tuple(_requirement(part) for part in parts if part))


def _requirement(text: str) -> Requirement:
    if found := _SET.fullmatch(text):
        values = frozenset(value.strip() for value in found[3].split(","))
        return Requirement(found[1], "In" if found[2] == "in" else "NotIn", values)
    if found := _EQUALITY.fullmatch(text):
        return Requirement(found[1], "NotIn" if found[2] == "!=" else "In", frozenset({found[3]}))
    if found := _PRESENCE.fullmatch(text):
        return Requirement(found[2], "DoesNotExist" if found[1] else "Exists")
    raise bad_request(f"unable to parse requirement: {text}")


def from_map(labels: Mapping[str, str]) -> LabelSelector:
    """Select objects that have all these labels, as the selector of a Service does."""
    return LabelSelector(
        tuple(Requirement(key, "In", frozenset({value})) for key, value in sorted(labels.items()))
    )


def from_object(selector: Mapping[str, Any]) -> LabelSelector:
    """Read ``matchLabels`` and ``matchExpressions``, as the selector of a Deployment has."""
    expressions: Sequence[Mapping[str, Any]] = selector.get("matchExpressions") or ()
    return LabelSelector(
        from_map(selector.get("matchLabels") or {}).requirements
        + tuple(
            Requirement(e["key"], e["operator"], frozenset(e.get("values") or ()))
            for e in expressions
        )
    )


@dataclass(frozen=True, slots=True)
class FieldTerm:
    """One condition on one field, compared as text."""

    path: str
    value: str
    negated: bool

    def matches(self, entry: Entry) -> bool:
        """Tell whether the entry meets this condition."""
        match self.path:
            case "metadata.name":
                have = entry.key.name
            case "metadata.namespace":
                have = entry.key.namespace
            case path:
                have = entry.fields.get(path, "")
        return (have == self.value) != self.negated


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Conditions of which all must hold."""

    terms: tuple[FieldTerm, ...] = ()

    def matches(self, entry: Entry) -> bool:
        """Tell whether the entry is selected."""
        return all(term.matches(entry) for term in self.terms)

    def required(self, path: str) -> str | None:
        """Give the value that ``path`` must have, when the selector says so."""
        for term in self.terms:
            if term.path == path and not term.negated:
                return term.value
        return None


def parse_fields(text: str, allowed: Sequence[str]) -> FieldSelector:
    """Parse ``metadata.name=a,spec.nodeName!=b``.

    Errors: StatusError 400 for bad syntax and for a field that the kind does not select by.
    """
    terms = []
    for part in filter(None, text.split(",")):
        found = _FIELD.fullmatch(part)
        if found is None:
            raise bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        path = found[1]
        if path not in ("metadata.name", "metadata.namespace") and path not in allowed:
            raise bad_request(f"field label not supported: {path}")
        terms.append(FieldTerm(path, found[3], found[2] == "!="))
    return FieldSelector(tuple(terms))


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a resource a list or a watch is about."""

    namespace: str = ""
    labels: LabelSelector = LabelSelector()
    fields: FieldSelector = FieldSelector()

    @property
    def is_filtered(self) -> bool:
        """Whether anything but the namespace narrows the selection."""
        return bool(self.labels.requirements or self.fields.terms)

    @property
    def is_everything(self) -> bool:
        """Whether every object of the resource is selected."""
        return not (self.namespace or self.is_filtered)

    def matches(self, entry: Entry) -> bool:
        """Tell whether the entry is selected."""
        if self.namespace and entry.key.namespace != self.namespace:
            return False
        return self.labels.matches(entry.labels) and self.fields.matches(entry)
