# SPDX-License-Identifier: Apache-2.0
"""When one glob takes all that another takes."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ottr.routing.globs import covers


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("*", "anything"),
        ("*", "PA-*"),
        ("*", ""),
        ("PA-*", "PA-440"),
        ("PA-*", "PA-4*"),
        ("PA-*", "PA-???"),
        ("PA-???", "PA-440"),
        ("PA-4?0", "PA-4?0"),
        ("PA-[45]*", "PA-440"),
        ("PA-[45]*", "PA-[45]1"),
        ("PA-?", "PA-[45]"),
        ("a*b*c", "aXbYc"),
        ("[x", "[x"),
        ("[!]a]", "b"),
    ],
)
def test_covers(wide: str, narrow: str) -> None:
    assert covers(wide, narrow)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        ("PA-440", "PA-*"),
        ("PA-4*", "PA-*"),
        ("?", "*"),
        ("?", "ab"),
        ("ab", "a"),
        ("PA-[45]*", "PA-?1"),
        ("[45]", "[4]"),  # true, but this is not looked into
        ("[!4]", "4"),
        ("pa-*", "PA-440"),
        ("", "a"),
    ],
)
def test_does_not_cover(wide: str, narrow: str) -> None:
    assert not covers(wide, narrow)


patterns = st.text(alphabet="ab*?[]!-", max_size=7)


@settings(max_examples=500)
@given(wide=patterns, narrow=patterns, texts=st.lists(st.text(alphabet="ab[]!-", max_size=5), max_size=30))
def test_cover_is_never_claimed_wrongly(wide: str, narrow: str, texts: list[str]) -> None:
    if covers(wide, narrow):
        assert [text for text in texts if fnmatchcase(text, narrow) and not fnmatchcase(text, wide)] == []


@given(patterns)
def test_each_covers_itself(pattern: str) -> None:
    assert covers(pattern, pattern)


def test_many_stars_are_quick() -> None:
    assert not covers("*a" * 40 + "b", "*a" * 80)


def test_long_ones_are_only_compared() -> None:
    assert covers("a*" * 2000, "a*" * 2000)
    assert not covers("*", "a*" * 2000)
