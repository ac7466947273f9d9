"""Rules between the fields of an object, which types alone cannot say."""

from collections.abc import Iterator
from typing import Any

from ambimesh.local.apiserver.types.cause import Cause
from ambimesh.local.apiserver.types.kinds import Kind

JsonObject = dict[str, Any]


def broken_rules(kind: Kind, obj: JsonObject) -> Iterator[Cause]:
    """Give what is wrong with an object whose types are right."""
    del kind, obj
    yield from ()
