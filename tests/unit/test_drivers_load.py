# SPDX-License-Identifier: Apache-2.0
"""A driver is found by its name: ours first, then one that another distribution brings."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import ottr.drivers
from ottr.drivers import load
from ottr.errors import RoutingError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions; modules of it are forgotten again."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Path) -> Path:
    """One more folder where packages of ``ottr.drivers`` are looked for."""
    folder = tmp_path / "drivers"
    folder.mkdir()
    monkeypatch.setattr(ottr.drivers, "__path__", [*ottr.drivers.__path__, str(folder)])
    yield folder
    for name in list(vars(ottr.drivers)):
        module = sys.modules.get(f"ottr.drivers.{name}")
        if module is not None and str(folder) in str(getattr(module, "__file__", "")):
            delattr(ottr.drivers, name)


def write_package(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)


def install(site: Path, name: str, target: str) -> None:
    """What an installed distribution with one entry point looks like."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[ottr.drivers]\n{name} = {target}\n")


def test_a_package_of_ours_is_found(ours):
    write_package(ours, "toaster", "mark = 'ours'\n")
    assert load("toaster").mark == "ours"


def test_a_driver_of_another_distribution_is_found(site):
    (site / "acme_toaster.py").write_text("mark = 'theirs'\n")
    install(site, "toaster", "acme_toaster")
    assert load("toaster").mark == "theirs"


def test_ours_goes_before_theirs(site, ours):
    write_package(ours, "toaster", "mark = 'ours'\n")
    (site / "acme_toaster.py").write_text("mark = 'theirs'\n")
    install(site, "toaster", "acme_toaster")
    assert load("toaster").mark == "ours"


def test_a_driver_that_is_not_there_is_an_error_of_the_route():
    with pytest.raises(RoutingError, match="there is no driver 'toaster'") as caught:
        load("toaster")
    assert "ottr drivers list" in caught.value.hint


@pytest.mark.parametrize(
    "name", ["", "Toaster", "a.b", "a-b", "../x", "__init__", "__pycache__", "_x", "1st", "a" * 41, "a\n", "é"]
)
def test_what_is_no_name_is_never_imported(name):
    with pytest.raises(RoutingError, match="is not a driver's name"):
        load(name)


def test_a_library_missing_inside_a_driver_is_not_a_missing_driver(ours):
    write_package(ours, "toaster", "import library_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="library_that_is_not_there"):
        load("toaster")
