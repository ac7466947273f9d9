"""A small language for the fields of objects, and the types it is read into.

A table is text. A line at the left margin opens a struct or names an alias; an indented line is
a field: its name, its type and, after a hash, words for ``kubectl explain``.

    Protocol = TCP|UDP|SCTP

    ServicePort                                  # One port of a service.
        port!         integer 1..65535           # "!" marks a required field.
        protocol      Protocol = TCP             # A default.
        targetPort    int-or-string
        labels        atomic {string}            # A map; atomic: owned as one value.
        conditions    [Condition] by type        # A list of which items are found by key.
        finalizers    [string] set               # A list without repeated items.
        ports         [Port] by port,protocol merging port
        tcp           atomic TcpOptions          # A struct owned as one value.
        extra         any                        # Whatever it is, it is kept.

Bounds after a type are values of an integer, and otherwise lengths. Words at the end of a field:
``merging KEY`` names the key of strategic merge where it is not the first key, ``retaining``
lets it drop what ``$retainKeys`` does not name, and ``always`` says that Go writes the field
even when it is empty, so that nobody comes to own the field itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Ownership = Literal["atomic", "map", "set"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The least and the greatest allowed value or length; ``None`` where there is no limit."""

    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A string, number or boolean; ``word`` is a key of ``formats.FORMATS``."""

    word: str
    choices: tuple[str, ...] = ()  # the only allowed strings, unless empty
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True)
class Anything:
    """A value that is kept as it comes, whatever it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class List:
    """A list; how its items are told apart decides how it is merged and owned."""

    item: "Type"
    ownership: Ownership = "atomic"
    keys: tuple[str, ...] = ()  # fields that name an item, for ownership ``map``
    merge_key: str = ""  # the one key that strategic merge goes by
    bounds: Bounds | None = None

    @property
    def is_merged(self) -> bool:
        """Whether strategic merge joins the lists, where it would else replace one."""
        return bool(self.merge_key) or self.ownership == "set"


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """Free names, all of one type; an atomic map is owned as one value."""

    item: "Type"
    atomic: bool = False
    bounds: Bounds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a struct."""

    name: str
    type: "Type"
    description: str = ""
    is_required: bool = False
    is_always_written: bool = False
    is_retaining: bool = False
    default: Any = None  # ``None`` for no default


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Struct:
    """Known fields; unknown ones are kept and reported. An atomic struct is owned as one value."""

    name: str
    description: str = ""
    fields: Mapping[str, Field] = field(repr=False)
    atomic: bool = False


Type = Scalar | Anything | List | Map | Struct

ANYTHING = Anything()


def child(type_: Type, name: str) -> Type:
    """Give the type of a member: of a struct or a map; anything where nothing is known."""
    if isinstance(type_, Struct):
        known = type_.fields.get(name)
        return known.type if known else ANYTHING
    if isinstance(type_, Map):
        return type_.item
    return ANYTHING


def item(type_: Type) -> Type:
    """Give the type of the items of a list; anything where nothing is known."""
    return type_.item if isinstance(type_, List) else ANYTHING
