# SPDX-License-Identifier: Apache-2.0
"""Ansible's pattern language over hosts and groups that are known already.

``web:&dc1:!old``, commas, globs, ``~regex``, ``[0]``, ``[0:2]``, and ``@file`` in a limit. Terms are taken in the
order plain, ``&``, ``!``, wherever they stand. The few forms whose meaning depends on what looks like an address
are left to Ansible itself: ``split`` raises ``Ambiguous`` for them.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ottr.errors import InventoryError

_SUBSCRIPT = re.compile(r"(?P<expression>.+)\[(?:(?P<index>-?\d+)|(?P<first>\d+)[:-](?P<last>\d*))\]", re.ASCII)
_PIECE = re.compile(r"(?:[^\s:\[\]]|\[[^\]]*\])+")
_SIMPLE = re.compile(r"[^\s:\[\]]+(?:\[[^\]\s]*\])?")


class Ambiguous(Exception):
    """Only Ansible knows what this pattern means."""


@dataclass(frozen=True, slots=True)
class HostIndex:
    """Hosts and groups in the inventory's order; a group's hosts include those of its children."""

    hosts: Sequence[str]
    groups: Mapping[str, Sequence[int]]
    numbers: Mapping[str, int]

    @classmethod
    def of(cls, hosts: Sequence[str], groups: Mapping[str, Sequence[int]]) -> HostIndex:
        """Number the hosts."""
        return cls(hosts, groups, {name: number for number, name in enumerate(hosts)})


@dataclass(frozen=True, slots=True)
class Selection:
    """The names a pattern means, and the terms that mean nothing."""

    names: tuple[str, ...]
    unmatched: tuple[str, ...]


def select(index: HostIndex, pattern: str, limit: str = "") -> Selection:
    """Evaluate a pattern, and a limit on top of it.

    Raises Ambiguous for what must be asked of Ansible, InventoryError for a pattern that is wrong.
    """
    unmatched: list[str] = []
    found = _evaluate(index, split(pattern), unmatched)
    if limit:
        allowed = set(_evaluate(index, _limit_terms(limit), unmatched))
        found = [number for number in found if number in allowed]
    return Selection(tuple(index.hosts[number] for number in dict.fromkeys(found)), tuple(unmatched))


def split(pattern: str) -> list[str]:
    """Split at commas, else at colons. Raises Ambiguous where a colon may belong to an address or a port."""
    if "," in pattern:
        return [term.strip() for term in pattern.split(",") if term.strip()]
    text = pattern.strip()
    if _SIMPLE.fullmatch(text):
        return [text]
    pieces = _PIECE.findall(text)
    if ":".join(pieces) != text or "::" in text or not pieces or _like_address(text, pieces):
        raise Ambiguous
    return [str(piece) for piece in pieces]


def _like_address(text: str, pieces: Sequence[str]) -> bool:
    """Whether the last colon could be that of a port, or all of them those of an IPv6 address."""
    return text[-1] == ":" or pieces[-1].isdigit() or re.fullmatch(r"[0-9a-fA-F:.]+", text) is not None


def _limit_terms(limit: str) -> list[str]:
    terms: list[str] = []
    for term in split(limit):
        terms.extend(_read_names(Path(term[1:])) if term.startswith("@") else [term])
    return terms


def _read_names(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"the limit file {path} cannot be read: {error}") from error


def _evaluate(index: HostIndex, terms: Sequence[str], unmatched: list[str]) -> list[int]:
    plain = [term for term in terms if term[0] not in "&!"]
    found: list[int] = []
    for term in plain or ["all"]:
        seen = set(found)
        # A host's own name means that host, also where a group has the same name; behind a sign it does not.
        numbers = [index.numbers[term]] if term in index.numbers else _resolve(index, term, unmatched)
        found.extend(number for number in numbers if number not in seen)
    for term in (term for term in terms if term[0] == "&"):
        keep = set(_resolve(index, term[1:], unmatched))
        found = [number for number in found if number in keep]
    for term in (term for term in terms if term[0] == "!"):
        drop = set(_resolve(index, term[1:], unmatched))
        found = [number for number in found if number not in drop]
    return found


def _resolve(index: HostIndex, term: str, unmatched: list[str]) -> list[int]:
    """One term without its sign, as numbers of hosts; a host may come more than once, as subscripts count."""
    if not term:
        raise InventoryError("a pattern has a sign with nothing after it")
    expression, part = _split_subscript(term)
    found = list(_enumerate(index, expression))
    if not found and expression not in index.groups and expression != "all":
        unmatched.append(term)
    return _take(term, found, part)


def _enumerate(index: HostIndex, expression: str) -> Iterator[int]:
    match = _compile(expression).match
    groups = [name for name in index.groups if match(name)]
    for name in groups:
        yield from index.groups[name]
    if not groups or expression[0] == "~" or any(sign in expression for sign in ".?*["):
        for number, name in enumerate(index.hosts):
            if match(name):
                yield number


def _compile(expression: str) -> re.Pattern[str]:
    try:
        return re.compile(expression[1:] if expression[0] == "~" else fnmatch.translate(expression))
    except re.error as error:
        raise InventoryError(f"{expression!r} is not a pattern: {error}") from error


def _split_subscript(term: str) -> tuple[str, tuple[int, int | None] | None]:
    match = None if term[0] == "~" else _SUBSCRIPT.fullmatch(term)
    if match is None:
        return term, None
    if match["index"] is not None:
        return match["expression"], (int(match["index"]), None)
    return match["expression"], (int(match["first"]), int(match["last"]) if match["last"] else -1)


def _take(term: str, found: list[int], part: tuple[int, int | None] | None) -> list[int]:
    if part is None or not found:
        return found
    first, last = part
    if last:
        return found[first : None if last == -1 else last + 1]
    # No end, and the end 0, both mean the one host.
    if not -len(found) <= first < len(found):
        raise InventoryError(f"no host is at the place the pattern {term!r} names")
    return [found[first]]
