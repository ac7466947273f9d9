"""Durations as Go writes them: ``24h``, ``1h30m``, ``500ms``."""

import re
from datetime import timedelta
from typing import Final

_PART: Final = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>h|ms|m|s)")
_SECONDS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration(text: str) -> timedelta:
    """Read a duration. Errors: ``ValueError`` for every other form, also negative ones."""
    parts = list(_PART.finditer(text))
    if not parts or "".join(part[0] for part in parts) != text:
        raise ValueError(f"{text!r} is no duration like 24h or 1h30m")
    return timedelta(seconds=sum(float(part["number"]) * _SECONDS[part["unit"]] for part in parts))
