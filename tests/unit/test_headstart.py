# SPDX-License-Identifier: Apache-2.0
"""A reader of the inventory is begun when one will be wanted, and nothing is left of one that nobody took."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr import headstart
from ottr.inventory.ansible import AnsibleInventory, InventoryOptions


@pytest.fixture(autouse=True)
def nothing_begun() -> Iterator[None]:
    yield
    headstart.dismiss()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Of a user who has run nothing yet; the reader does nothing but wait."""
    waiting = tmp_path / "wait.py"
    waiting.write_text("import sys\nsys.stdin.read()\n")
    monkeypatch.setattr(headstart, "PROGRAM", waiting)
    return {"HOME": str(tmp_path)}


def test_the_reader_that_was_begun_reads_the_inventory(tmp_path: Path) -> None:
    headstart.begin(["rotate"], {"HOME": str(tmp_path)})
    with AnsibleInventory(InventoryOptions(sources=("web1,web2,",))) as inventory:
        inventory.start()
        assert headstart.take() is None
        assert [host.name for host in inventory.hosts()] == ["web1", "web2"]


def test_it_is_taken_once(home: dict[str, str]) -> None:
    headstart.begin(["plan", "-v"], home)
    begun = headstart.take()
    assert begun is not None
    assert headstart.take() is None
    process, errors = begun
    with process, errors:
        assert process.poll() is None


def test_one_that_nobody_takes_is_ended(home: dict[str, str]) -> None:
    headstart.begin(["rotate", "all"], home)
    begun = headstart._begun.get()
    assert begun is not None
    headstart.dismiss()
    with pytest.raises(ProcessLookupError):
        os.kill(begun[0].pid, 0)
    assert headstart.take() is None


@pytest.mark.parametrize("line", ["", "history web1", "--help", "rotate --help", "plan -h", "ca init"])
def test_nothing_is_begun_for_what_reads_no_inventory(line: str, home: dict[str, str]) -> None:
    headstart.begin(line.split(), home)
    assert headstart.take() is None


def test_nothing_is_begun_where_an_answer_is_remembered(home: dict[str, str], tmp_path: Path) -> None:
    folder = headstart.default_folder(home)
    folder.mkdir(parents=True)
    (folder / "inventory-0123.json").write_text("{}")
    headstart.begin(["rotate"], home)
    assert headstart.take() is None


def test_a_reader_that_does_not_start_is_no_matter_yet(home: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    monkeypatch.setattr(headstart.subprocess, "Popen", refuse)
    headstart.begin(["rotate"], home)
    assert headstart.take() is None
