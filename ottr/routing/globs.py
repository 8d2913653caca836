# SPDX-License-Identifier: Apache-2.0
"""Shell globs (``*``, ``?``, ``[a-z]``, ``[!a-z]``; case counts) and whether one takes all that another takes."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import cache

_LONGEST = 400
"""Characters of both patterns up to which the walk through them stays well within Python's stack."""


def covers(wide: str, narrow: str) -> bool:
    """Whether every text that ``narrow`` matches is surely matched by ``wide``; False also when unsure."""
    if len(wide) + len(narrow) > _LONGEST:
        return wide == narrow
    return _Cover(_split(wide), _split(narrow)).holds(0, 0)


class _Cover:
    """Walks through both patterns: each token of the narrow one must fall under one of the wide one."""

    def __init__(self, wide: Sequence[str], narrow: Sequence[str]) -> None:
        self._wide = wide
        self._narrow = narrow
        self.holds = cache(self._holds)

    def _holds(self, w: int, n: int) -> bool:
        if w == len(self._wide):
            return n == len(self._narrow)
        if self._wide[w] == "*":
            return self.holds(w + 1, n) or (n < len(self._narrow) and self.holds(w, n + 1))
        return n < len(self._narrow) and _falls_under(self._narrow[n], self._wide[w]) and self.holds(w + 1, n + 1)


def _falls_under(narrow: str, wide: str) -> bool:
    """Whether one character's token falls under another; ``*`` falls under nothing that takes one character."""
    if narrow == "*":
        return False
    if wide in ("?", narrow):
        return True
    return len(wide) > 1 and len(narrow) == 1 and narrow != "?" and fnmatchcase(narrow, wide)


def _split(pattern: str) -> list[str]:
    """Tokens of a pattern: ``*``, ``?``, a whole bracket expression, or one character as ``[x]`` has it."""
    tokens = []
    place = 0
    while place < len(pattern):
        end = _bracket_end(pattern, place)
        tokens.append(pattern[place:end])
        place = end
    return tokens


def _bracket_end(pattern: str, start: int) -> int:
    """Where the token that begins at ``start`` ends; a bracket never closed is a character like others."""
    if pattern[start] != "[":
        return start + 1
    first = start + 2 if pattern[start + 1 : start + 2] == "!" else start + 1
    close = pattern.find("]", first + 1)
    return close + 1 if close >= 0 else start + 1
