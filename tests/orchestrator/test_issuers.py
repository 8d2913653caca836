# SPDX-License-Identifier: Apache-2.0
"""CAs are made when they are first needed, once, whoever asks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import cast

import pytest

from ottr.orchestrator.issuers import Authorities
from ottr.orchestrator.target import Authority


def build(made: list[str]):
    def make(name: str) -> Authority:
        made.append(name)
        return cast(Authority, SimpleNamespace(name=name))

    return make


def test_nothing_is_made_before_it_is_asked_for():
    made: list[str] = []
    authorities = Authorities({"one": None, "two": None}, build(made))
    assert (list(authorities), len(authorities), made) == (["one", "two"], 2, [])
    assert authorities["two"] is authorities["two"]
    assert made == ["two"]


def test_many_threads_get_the_same_one():
    made: list[str] = []
    authorities = Authorities({"one": None}, build(made))
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: authorities["one"], range(64)))
    assert made == ["one"]
    assert len({id(one) for one in got}) == 1


def test_a_name_that_ottr_yaml_does_not_have_is_none():
    made: list[str] = []
    authorities = Authorities({"one": None}, build(made))
    assert "other" not in authorities
    assert "one" in authorities
    with pytest.raises(KeyError, match="other"):
        authorities["other"]
    assert made == []
