# SPDX-License-Identifier: Apache-2.0
"""Columns of text. A fleet has ten thousand rows, and a library for tables takes seconds for those."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_GAP = "  "


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns under a head; columns that are empty everywhere are left out."""
    cleaned = [[printable(cell) for cell in row] for row in rows]
    kept = [number for number in range(len(head)) if any(row[number] for row in cleaned)]
    if not kept:
        return []
    table = [[head[number] for number in kept], *([row[number] for number in kept] for row in cleaned)]
    widths = [max(len(row[column]) for row in table) for column in range(len(kept))]
    return [_GAP.join(map(str.ljust, row, widths)).rstrip() for row in table]


def printable(text: str) -> str:
    """One line without what a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " if char in "\n\t" else "\ufffd" for char in text)
