"""The language of the type tables."""

import pytest

from ambimesh.local.apiserver.types.kinds import STRUCTS
from ambimesh.local.apiserver.types.language import Bounds, List, Map, Scalar, Struct
from ambimesh.local.apiserver.types.reader import LanguageError, read

TABLE = """
Mode = On|Off

Thing                                # What it is.
    name!    string 1..63            # Its name.
    mode     Mode = On
    labels   atomic {string} ..8
    parts    [Part] 1..4 by id,side merging id
    marks    [string] set
    whole    atomic Part
    spec     Part always
    volumes  [Part] by id retaining

Part
    id    integer 1..
    side  string = "left"
    free  any
"""


def test_read_table_gives_structs_with_every_word_of_the_language() -> None:
    """Each notation of the language has its meaning."""
    thing = read(TABLE)["Thing"]

    fields = thing.fields
    assert thing.description == "What it is."
    assert fields["name"].is_required
    assert fields["name"].description == "Its name."
    assert fields["name"].type == Scalar(word="string", bounds=Bounds(low=1, high=63))
    assert fields["mode"].type == Scalar(word="string", choices=("On", "Off"))
    assert fields["mode"].default == "On"
    assert fields["labels"].type == Map(
        item=Scalar(word="string"), atomic=True, bounds=Bounds(high=8)
    )
    parts = fields["parts"].type
    assert isinstance(parts, List)
    assert (parts.ownership, parts.keys, parts.merge_key) == ("map", ("id", "side"), "id")
    assert parts.bounds == Bounds(low=1, high=4)
    marks = fields["marks"].type
    assert isinstance(marks, List)
    assert marks.ownership == "set"
    assert marks.is_merged
    whole = fields["whole"].type
    assert isinstance(whole, Struct)
    assert whole.atomic
    assert whole.fields["side"].default == "left"
    assert fields["spec"].is_always_written
    assert fields["volumes"].is_retaining


@pytest.mark.parametrize(
    "table",
    [
        "Thing\n    a  nothing",
        "Thing\n    a  [string",
        "Thing\n    a  string by",
        "Thing\n    a  string\n    a  string",
        "Thing\n    a  atomic [string]",
        "Thing\n    a",
        "Thing\nThing",
        "two words",
    ],
)
def test_read_table_with_a_mistake_is_refused(table: str) -> None:
    """A mistake in a table is found when the module is loaded, not when an object comes."""
    with pytest.raises(LanguageError):
        read(table)


def test_list_keys_of_the_tables_are_fields_of_their_items() -> None:
    """A key that no item can have would make every item the same."""
    for struct in STRUCTS.values():
        for field in struct.fields.values():
            if isinstance(field.type, List) and isinstance(field.type.item, Struct):
                keys = {*field.type.keys, *filter(None, [field.type.merge_key])}
                assert keys <= field.type.item.fields.keys(), (struct.name, field.name)
