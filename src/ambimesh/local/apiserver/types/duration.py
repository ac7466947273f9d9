"""Ages as kubectl prints them. Source: k8s.io/apimachinery/pkg/util/duration."""

from datetime import UTC, datetime

_MINUTE = 60
_HOUR = 60 * _MINUTE
_DAY = 24 * _HOUR
_YEAR = 365 * _DAY

# Up to which age it is written in which unit, and whether with the next smaller one.
_SCALE: tuple[tuple[int, tuple[int, str], tuple[int, str] | None], ...] = (
    (2 * _MINUTE, (1, "s"), None),
    (10 * _MINUTE, (_MINUTE, "m"), (1, "s")),
    (3 * _HOUR, (_MINUTE, "m"), None),
    (8 * _HOUR, (_HOUR, "h"), (_MINUTE, "m")),
    (2 * _DAY, (_HOUR, "h"), None),
    (8 * _DAY, (_DAY, "d"), (_HOUR, "h")),
    (2 * _YEAR, (_DAY, "d"), None),
    (8 * _YEAR, (_YEAR, "y"), (_DAY, "d")),
)


def human_duration(seconds: float) -> str:
    """Write a duration with one or two units: ``59s``, ``3m13s``, ``9m``, ``5h12m``, ``2d3h``."""
    whole = int(seconds)
    if whole < -1:  # clocks may differ a little
        return "<invalid>"
    whole = max(whole, 0)
    for limit, (size, unit), smaller in _SCALE:
        if whole < limit:
            rest = (whole % size) // smaller[0] if smaller else 0
            return f"{whole // size}{unit}" + (f"{rest}{smaller[1]}" if smaller and rest else "")
    return f"{whole // _YEAR}y"


def age(timestamp: object, now: datetime) -> str:
    """Write how long ago a time of an object was."""
    moment = parse(timestamp)
    return "<unknown>" if moment is None else human_duration((now - moment).total_seconds())


def parse(timestamp: object) -> datetime | None:
    """Read a time of an object; nothing where it is none."""
    try:
        moment = datetime.fromisoformat(timestamp) if isinstance(timestamp, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
