"""How many pods the old and the new ReplicaSets of a Deployment may have now. Pure.

Source: the Deployment controller of Kubernetes, strategies RollingUpdate and Recreate.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ambimesh.local.apiserver.store.entry import JsonObject, encode

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
TEMPLATE_HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Replicas:
    """One ReplicaSet: how many pods it wants, has and has available."""

    name: str
    wanted: int
    present: int
    available: int


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a rolling update may go above and below the number of pods."""

    surge: int
    unavailable: int


def limits_of(spec: JsonObject) -> Limits:
    """Read the limits of a Deployment; both never are zero, or nothing would ever move.

    Errors: none; what cannot be read counts as the default, a quarter.
    """
    replicas = spec.get("replicas", 1)
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    surge = _share(rolling.get("maxSurge", "25%"), replicas, rounds_up=True)
    unavailable = _share(rolling.get("maxUnavailable", "25%"), replicas, rounds_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return Limits(surge, unavailable)


def _share(value: int | str, total: int, *, rounds_up: bool) -> int:
    if isinstance(value, int):
        return value
    text = value.removesuffix("%")
    exact = (int(text) if text.isdigit() else 25) * total / 100
    return math.ceil(exact) if rounds_up else math.floor(exact)


def next_sizes(spec: JsonObject, new: Replicas, old: list[Replicas]) -> Mapping[str, int]:
    """Give the sizes that ReplicaSets should get now; ``old`` from the oldest to the newest.

    Shape: an entry for each ReplicaSet whose size should change.
    """
    wanted = spec.get("replicas", 1)
    if (spec.get("strategy") or {}).get("type") == "Recreate":
        return _recreate(wanted, new, old)
    if not any(each.wanted for each in old):
        return {new.name: wanted} if new.wanted != wanted else {}
    limits = limits_of(spec)
    return {**_grow(wanted, limits, new, old), **_shrink(wanted, limits, new, old)}


def _recreate(wanted: int, new: Replicas, old: list[Replicas]) -> dict[str, int]:
    running = {each.name: 0 for each in old if each.wanted}
    if running or any(each.present for each in old):
        return running
    return {new.name: wanted} if new.wanted != wanted else {}


def _grow(wanted: int, limits: Limits, new: Replicas, old: list[Replicas]) -> dict[str, int]:
    if new.wanted >= wanted:
        return {new.name: wanted} if new.wanted > wanted else {}
    total = new.wanted + sum(each.wanted for each in old)
    size = min(wanted, new.wanted + max(wanted + limits.surge - total, 0))
    return {new.name: size} if size != new.wanted else {}


def _shrink(wanted: int, limits: Limits, new: Replicas, old: list[Replicas]) -> dict[str, int]:
    """Take away old pods: first those that do not work, then as many as may be missing."""
    sizes: dict[str, int] = {}
    least = wanted - limits.unavailable
    total = new.wanted + sum(each.wanted for each in old)
    # Pods of the new set that are not available yet count against what may be taken.
    spare = total - least - (new.wanted - new.available)
    for each in old:
        broken = min(each.wanted - min(each.available, each.wanted), max(spare, 0))
        if broken:
            sizes[each.name] = each.wanted - broken
            spare -= broken
    available = new.available + sum(each.available for each in old)
    surplus = available - least
    for each in old:
        present = sizes.get(each.name, each.wanted)
        taken = min(present, max(surplus, 0))
        if taken:
            sizes[each.name] = present - taken
            surplus -= taken
    return sizes


def template_hash(template: JsonObject) -> str:
    """Name a pod template; equal templates have equal names."""
    number = int.from_bytes(hashlib.sha256(encode(template)).digest()[:8])
    text = ""
    for _ in range(10):
        number, rest = divmod(number, len(_ALPHABET))
        text += _ALPHABET[rest]
    return text


def bare_template(template: JsonObject) -> JsonObject:
    """Give a template without the label that names it."""
    metadata = dict(template.get("metadata") or {})
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if k != TEMPLATE_HASH}
    metadata.pop("creationTimestamp", None)
    metadata.pop("labels", None)
    if labels:
        metadata["labels"] = labels
    return {**template, "metadata": metadata}
