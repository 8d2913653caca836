# SPDX-License-Identifier: Apache-2.0
"""Modules that are imported when something of them is asked for."""

from __future__ import annotations

import importlib
import sys

import pytest

from ottr.cli.late import put_off


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package ``seldom`` with a module ``part``, each of which says when it is really imported."""
    folder = tmp_path / "seldom"
    folder.mkdir()
    (folder / "__init__.py").write_text("import sys\nsys.imported_for_test.append('seldom')\nvalue = 1\n")
    (folder / "part.py").write_text("import sys\nsys.imported_for_test.append('part')\nvalue = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "imported_for_test", [], raising=False)
    yield sys.imported_for_test
    for name in ("seldom", "seldom.part"):
        sys.modules.pop(name, None)


def test_it_is_imported_when_an_attribute_is_wanted(package):
    put_off(("seldom",))
    early = importlib.import_module("seldom")
    assert package == []
    assert early.value == 1
    assert package == ["seldom"]
    assert importlib.import_module("seldom").value == early.value == 1
    assert package == ["seldom"]


def test_a_module_of_a_package_is_reached_through_the_package_too(package):
    put_off(("seldom.part",))
    importlib.import_module("seldom.part")
    assert package == ["seldom"]
    assert importlib.import_module("seldom").part.value == 2
    assert package == ["seldom", "part"]


def test_a_module_below_one_that_was_put_off_is_found(package):
    put_off(("seldom",))
    assert importlib.import_module("seldom.part").value == 2
    assert package == ["seldom", "part"]


def test_what_is_there_already_or_nowhere_is_left_alone(package):
    there = importlib.import_module("seldom")
    put_off(("seldom", "seldom_not_there"))
    assert sys.modules["seldom"] is there
    assert "seldom_not_there" not in sys.modules


def test_an_attribute_that_the_module_does_not_have_is_missed(package):
    put_off(("seldom",))
    late = importlib.import_module("seldom")
    with pytest.raises(AttributeError):
        _ = late.nothing
