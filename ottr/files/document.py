# SPDX-License-Identifier: Apache-2.0
"""YAML files whose values know where they stand, so that every complaint names file, line and key.

Keys are taken as they are written: ``on`` is a key, not a truth. Keys that stand twice are refused.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from ottr.errors import ConfigurationError

_SCALARS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "timestamp", "str")}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Source:
    """A file being read, and the class of error that tells of its mistakes."""

    path: Path
    error: type[ConfigurationError]


@dataclass(frozen=True, slots=True)
class Entry:
    """A value of a file: a scalar, or entries by key, or a list of entries."""

    source: Source
    line: int
    key: str
    """Dotted way from the top, as ``issuers.lets_encrypt.directory``; empty at the top."""
    value: Any = field(repr=False)
    """None, bool, int, float, date, datetime, str, ``dict[str, Entry]`` or ``list[Entry]``."""
    written: str = field(default="", repr=False)
    """A scalar as it stands in the file."""

    def error(self, message: str, *, hint: str = "") -> ConfigurationError:
        """Return the error that says so about this value."""
        where = f"{self.source.path}:{self.line}: " if self.line else f"{self.source.path}: "
        return self.source.error(f"{where}{self.key}: {message}" if self.key else where + message, hint=hint)

    def expected(self, what: str, *, hint: str = "") -> ConfigurationError:
        """Return the error that says what should stand here instead."""
        return self.error(f"expected {what}, found {self.shown}", hint=hint)

    @property
    def shown(self) -> str:
        """The value in a few words. Text is quoted as written, so never show a secret's."""
        if isinstance(self.value, dict):
            return "a mapping"
        if isinstance(self.value, list):
            return "a list"
        if isinstance(self.value, str):
            return repr(self.value)
        return self.written or "nothing"

    @property
    def empty(self) -> bool:
        """Whether nothing stands here."""
        return self.value is None

    def plain(self) -> Any:
        """Return the value as plain Python, places forgotten."""
        if isinstance(self.value, dict):
            return {key: entry.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [entry.plain() for entry in self.value]
        return self.value

    def items(self) -> Mapping[str, Entry]:
        """Return the entries of a mapping with free keys; nothing at all counts as an empty one."""
        if self.empty:
            return {}
        if not isinstance(self.value, dict):
            raise self.expected("a mapping")
        return self.value

    def fields(self, allowed: Collection[str]) -> Mapping[str, Entry]:
        """Return the entries of a mapping whose keys are known; refuse any other key."""
        entries = self.items()
        for key, entry in entries.items():
            if key not in allowed:
                raise entry.error(f"unknown key; {_suggest(key, allowed)}")
        return entries

    def entries(self) -> list[Entry]:
        """Return the entries of a list; a single value counts as a list of one, nothing as an empty one."""
        if self.empty:
            return []
        return self.value if isinstance(self.value, list) else [self]


def build_entry(value: Any, source: Source, key: str) -> Entry:
    """Wrap plain values, as an inventory gives them, to be read like those of a file."""
    if isinstance(value, Mapping):
        return Entry(source, 0, key, {str(n): build_entry(v, source, f"{key}.{n}") for n, v in value.items()})
    if isinstance(value, (list, tuple)):
        return Entry(source, 0, key, [build_entry(v, source, f"{key}[{n}]") for n, v in enumerate(value)])
    return Entry(source, 0, key, value, "" if value is None else str(value))


def load_document(path: Path, error: type[ConfigurationError]) -> Entry:
    """Read one YAML file. Raises ``error``, also for a file that cannot be read."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        said = reason.strerror if isinstance(reason, OSError) else "not UTF-8 text"
        raise error(f"{path}: cannot be read: {said}", hint="`ottr init` writes a commented start") from reason
    return parse_document(text, Source(path, error))


def parse_document(text: str, source: Source) -> Entry:
    """Turn YAML text into entries. Raises the source's error."""
    try:
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "something else"
        raise source.error(f"{source.path}:{line}: not YAML: {problem}") from error
    if node is None:
        return Entry(source, 1, "", None)
    return _Reader(source).entry(node, "")


class _Reader:
    """Turns the nodes of one file into entries."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._constructor = SafeConstructor()
        self._open: set[int] = set()

    def entry(self, node: yaml.Node, key: str) -> Entry:
        place = Entry(self._source, node.start_mark.line + 1, key, None)
        if id(node) in self._open:
            raise place.error("holds itself by an alias")
        self._open.add(id(node))
        value, written = self._value(node, place)
        self._open.remove(id(node))
        return Entry(place.source, place.line, key, value, written)

    def _value(self, node: yaml.Node, place: Entry) -> tuple[Any, str]:
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, place), ""
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [self.entry(item, f"{place.key}[{n}]") for n, item in enumerate(node.value)], ""
        if not isinstance(node, yaml.ScalarNode) or node.tag not in _SCALARS:
            hint = "give secrets as {env: NAME} or {file: PATH}"
            raise place.error("a tag is not understood here", hint=hint)
        try:
            return self._constructor.construct_object(node), node.value
        except (ConstructorError, ValueError) as error:
            raise place.error("cannot be read as it stands; text goes in quotes") from error

    def _mapping(self, node: yaml.MappingNode, place: Entry) -> dict[str, Entry]:
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, entry in self._pairs(node, place):
            if key == "<<":
                for part in entry.entries():
                    merged = {**part.items(), **merged}
            elif key in own:
                raise entry.error(f"stands twice, first in line {own[key].line}")
            else:
                own[key] = entry
        return {**merged, **own}

    def _pairs(self, node: yaml.MappingNode, place: Entry) -> Iterator[tuple[str, Entry]]:
        for name, value in node.value:
            if not isinstance(name, yaml.ScalarNode):
                raise Entry(self._source, name.start_mark.line + 1, place.key, None).error("a key must be text")
            way = f"{place.key}.{name.value}" if place.key else name.value
            entry = self.entry(value, way)
            # A key's own line serves better than that of the value, which may begin below it.
            yield name.value, Entry(self._source, name.start_mark.line + 1, way, entry.value, entry.written)


def _suggest(key: str, allowed: Collection[str]) -> str:
    listed = f"allowed: {', '.join(sorted(allowed))}"
    close = difflib.get_close_matches(key, allowed, n=1)
    return f"did you mean {close[0]!r}? {listed}" if close else listed
