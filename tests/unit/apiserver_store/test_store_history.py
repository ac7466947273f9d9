"""The history of a resource: cursors, versions, and what happens when events are dropped."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, Key
from ambimesh.local.apiserver.store.history import Cursor, FellBehindError, History


def _event(version: int, size: int = 10) -> Event:
    data = b'{"metadata":{"uid":"%s"}}' % (b"u" * size)
    return Event(EventType.ADDED, Entry(Key("", "a"), version, data), None)


def _filled(*versions: int, keep_events: int = 100, keep_bytes: int = 1 << 20) -> History:
    history = History(1, keep_events, keep_bytes)
    for version in versions:
        history.append(_event(version))
    return history


def test_after_a_version_gives_what_is_newer() -> None:
    """Versions between events count: the next newer event is the first."""
    history = _filled(3, 5, 9)

    versions = [event.version for event in history.read(history.after(4), 10)[0]]

    assert versions == [5, 9]


def test_after_a_version_before_the_floor_is_refused() -> None:
    """What came before the start of the process is not kept."""
    with pytest.raises(FellBehindError):
        _filled(3).after(0)


def test_read_stops_at_the_limit_and_goes_on() -> None:
    """A cursor moves by what was read."""
    history = _filled(2, 3, 4)

    first, cursor = history.read(history.after(1), 2)
    rest, end = history.read(cursor, 2)

    assert [e.version for e in (*first, *rest)] == [2, 3, 4]
    assert end == history.end


def test_dropped_events_raise_the_floor() -> None:
    """Old events go when there are too many; those who need them hear of it."""
    history = _filled(*range(2, 14), keep_events=5)

    assert history.floor >= 6
    with pytest.raises(FellBehindError):
        history.after(3)
    with pytest.raises(FellBehindError):
        history.read(Cursor(0), 1)


def test_bytes_are_bounded_as_well() -> None:
    """Few large events are dropped like many small ones."""
    history = History(1, 1000, 10_000)
    for version in range(2, 100):
        history.append(_event(version, size=2000))

    kept = 99 - history.floor

    assert 2 <= kept <= 6


@given(st.lists(st.integers(1, 5), max_size=60), st.integers(1, 20), st.integers(0, 80))
def test_any_reader_sees_every_event_once_or_falls_behind(
    steps: list[int], keep: int, since: int
) -> None:
    """From any version, reading gives exactly the newer events, unless some are gone."""
    versions: list[int] = []
    history = History(1, keep, 1 << 30)
    for step in steps:
        versions.append((versions[-1] if versions else 1) + step)
        history.append(_event(versions[-1]))

    try:
        found = [e.version for e in history.read(history.after(since), 1000)[0]]
    except FellBehindError:
        assert since < history.floor
    else:
        assert found == [version for version in versions if version > since]
