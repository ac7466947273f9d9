"""Reads tables in the language of ``language.py`` into types."""

import json
import re
from dataclasses import replace
from typing import Any

from ambimesh.local.apiserver.types.formats import FORMATS
from ambimesh.local.apiserver.types.language import (
    ANYTHING,
    Bounds,
    Field,
    List,
    Map,
    Scalar,
    Struct,
    Type,
)

_HEADING = re.compile(r"(\w+)(?:\s+=\s+([^#]+?))?\s*(?:#\s*(.*))?")
_FIELD = re.compile(r"\s+([\w$-]+)(!?)\s+([^#]+?)\s*(?:#\s*(.*))?")
_WORD = re.compile(r"[\[\]{}|,]|[^\s\[\]{}|,]+")
_BOUNDS = re.compile(r"(\d*)\.\.(\d*)")


class LanguageError(ValueError):
    """A table that cannot be read: a mistake of ours, found when the module is loaded."""


def read(*tables: str) -> dict[str, Struct]:
    """Read tables, which may refer to each other, into structs by name.

    Errors: LanguageError naming the line.
    """
    lines = [line.rstrip() for table in tables for line in table.splitlines()]
    return _Reader().read([line for line in lines if line and not line.startswith("#")])


class _Reader:
    """Opens all headings first, so that a type may be used above the line that opens it."""

    def __init__(self) -> None:
        self._fields: dict[str, dict[str, Field]] = {}
        self._structs: dict[str, Struct] = {}
        self._aliases: dict[str, str] = {}

    def read(self, lines: list[str]) -> dict[str, Struct]:
        """Read all lines."""
        for line in lines:
            if not line[0].isspace():
                self._open(line)
        opened = ""
        for line in lines:
            if not line[0].isspace():
                opened = line.split()[0]
                continue
            try:
                added = self._field(line)
            except LanguageError as error:
                raise LanguageError(f"{opened}: {line.strip()}: {error}") from error
            if added.name in self._fields[opened]:
                raise LanguageError(f"{opened}: {added.name}: a second time")
            self._fields[opened][added.name] = added
        return self._structs

    def _open(self, line: str) -> None:
        found = _HEADING.fullmatch(line)
        if found is None or found[1] in self._structs or found[1] in self._aliases:
            raise LanguageError(f"not a heading, or opened twice: {line}")
        name, alias, description = found.groups()
        if alias:
            self._aliases[name] = alias
            return
        fields = self._fields[name] = {}
        self._structs[name] = Struct(name=name, description=description or "", fields=fields)

    def _field(self, line: str) -> Field:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise LanguageError("not a field")
        name, required, text, description = found.groups()
        text, _, default = text.partition(" = ")
        words = _Words(text)
        type_ = self._type(words)
        is_retaining = words.accept("retaining")
        is_always_written = words.accept("always")
        words.end()
        return Field(
            name=name,
            type=type_,
            description=description or "",
            is_required=bool(required),
            is_always_written=is_always_written,
            is_retaining=is_retaining,
            default=_default(default.strip()),
        )

    def _type(self, words: "_Words") -> Type:
        if words.accept("atomic"):
            inner = self._type(words)
            if not isinstance(inner, Map | Struct):
                raise LanguageError("only maps and structs can be atomic; lists are anyway")
            return replace(inner, atomic=True)
        if words.accept("["):
            item = self._type(words)
            words.require("]")
            return _list(item, words)
        if words.accept("{"):
            item = self._type(words)
            words.require("}")
            return Map(item=item, bounds=words.bounds())
        return self._named(words)

    def _named(self, words: "_Words") -> Type:
        name = words.take()
        if words.peek() == "|":
            choices = [name]
            while words.accept("|"):
                choices.append(words.take())
            return Scalar(word="string", choices=tuple(choices))
        if name in self._structs:
            return self._structs[name]
        if name in self._aliases:
            alias = _Words(self._aliases[name])
            type_ = self._type(alias)
            alias.end()
            return type_
        if name == "any":
            return ANYTHING
        if name in FORMATS:
            return Scalar(word=name, bounds=words.bounds())
        raise LanguageError(f"unknown type {name}")


class _Words:
    """The words of one type, taken from the front."""

    def __init__(self, text: str) -> None:
        self._words: list[str] = _WORD.findall(text)[::-1]

    def peek(self) -> str:
        return self._words[-1] if self._words else ""

    def take(self) -> str:
        if not self._words:
            raise LanguageError("ends too early")
        return self._words.pop()

    def accept(self, word: str) -> bool:
        if self.peek() != word:
            return False
        self._words.pop()
        return True

    def require(self, word: str) -> None:
        if not self.accept(word):
            raise LanguageError(f"{word} expected, not {self.peek()!r}")

    def end(self) -> None:
        if self._words:
            raise LanguageError(f"{self.peek()!r} is left over")

    def bounds(self) -> Bounds | None:
        found = _BOUNDS.fullmatch(self.peek())
        if found is None:
            return None
        self._words.pop()
        low, high = (int(limit) if limit else None for limit in found.groups())
        return Bounds(low=low, high=high)


def _list(item: Type, words: _Words) -> List:
    made = List(item=item, bounds=words.bounds())
    if words.accept("set"):
        made = replace(made, ownership="set")
    elif words.accept("by"):
        keys = [words.take()]
        while words.accept(","):
            keys.append(words.take())
        made = replace(made, ownership="map", keys=tuple(keys), merge_key=keys[0])
    if words.accept("merging"):
        made = replace(made, merge_key=words.take())
    return made


def _default(text: str) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text  # a bare word is a string
