"""Entries and pages: what is read from bytes once, and how long a state is kept."""

import pytest

from ambimesh.local.apiserver.builtin import PODS, kind_of
from ambimesh.local.apiserver.store.entry import Entry, Event, EventType, Key, Owner, encode
from ambimesh.local.apiserver.store.snapshot import PageExpiredError, Snapshots
from ambimesh.local.apiserver.store.versions import preferred, read, show


def test_entry_knows_labels_owners_and_selected_fields() -> None:
    """What selectors and the collector need is read once."""
    data = encode(
        {
            "metadata": {
                "uid": "u",
                "labels": {"a": "b"},
                "ownerReferences": [{"uid": "o", "blockOwnerDeletion": True}],
            },
            "spec": {"nodeName": "n1", "hostNetwork": True},
        }
    )

    entry = Entry(Key("n", "p"), 7, data, ("spec.nodeName", "spec.hostNetwork", "status.phase"))

    assert entry.labels == {"a": "b"}
    assert entry.owners == (Owner("o", blocks=True),)
    assert entry.fields == {
        "spec.nodeName": "n1", "spec.hostNetwork": "true", "status.phase": "",
    }  # fmt: skip


def test_event_line_is_one_json_object() -> None:
    """A watch line has the type and the object, and ends the line."""
    entry = Entry(Key("n", "p"), 7, b'{"metadata":{}}')

    line = Event(EventType.ADDED, entry, None).line

    assert line == b'{"type":"ADDED","object":{"metadata":{}}}\n'


def test_show_changes_only_the_version() -> None:
    """An object stored as v1 is served as v1beta1 with the same bytes behind."""
    old = kind_of("security.istio.io/v1beta1", "authorizationpolicies")
    entry = Entry(Key("n", "p"), 1, b'{"apiVersion":"security.istio.io/v1","metadata":{}}')

    assert show(old, entry.data) == b'{"apiVersion":"security.istio.io/v1beta1","metadata":{}}'
    assert show(preferred(old), entry.data) is entry.data
    assert read(old, entry)["apiVersion"] == "security.istio.io/v1beta1"
    assert preferred(PODS) is PODS


def test_pages_expire_with_time_and_with_number() -> None:
    """A state is kept for minutes, and fewer when there are many."""
    now = [0.0]
    entries = [Entry(Key("", str(n)), n, b'{"metadata":{}}') for n in range(6)]
    snapshots = Snapshots(lambda: now[0], keep_references=10)
    first = snapshots.keep(1, entries)
    second = snapshots.keep(2, entries)

    with pytest.raises(PageExpiredError):
        snapshots.find(first)
    assert snapshots.find(second).version == 2
    now[0] = 301.0
    with pytest.raises(PageExpiredError):
        snapshots.find(second)
