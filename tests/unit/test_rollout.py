# SPDX-License-Identifier: Apache-2.0
"""A run that ends early still shows what it has done."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ottr.app import App
from ottr.cli.options import Form, Pace, Shared
from ottr.cli.rollout import Run
from ottr.errors import InventoryError, JournalError
from ottr.model import Outcome, RotationResult
from ottr.notify import EventKind
from ottr.report import ExitStatus
from ottr.service import Selection
from tests.unit.test_service import Fleet


def test_secrets_that_cannot_be_read_for_a_later_batch_hide_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The vault's password changed in between, say: who was rotated, who was not, and why, is shown and told."""
    fleet, batches = Fleet(tmp_path, "a", "b", "c"), list[object]()

    def prepare(hosts: object) -> None:
        batches.append(hosts)
        if len(batches) == 2:
            raise InventoryError("the vault does not open", hint="look at the password file")

    fleet.prepare = prepare
    app = cast(App, SimpleNamespace(settings=SimpleNamespace(rotation=SimpleNamespace(forks=1))))
    run = Run(app, Shared(output=Form.JSON), Pace(serial="1"), lambda: 2)
    status = run.follow(lambda rollout, stop, watch: fleet.service().rotate(Selection(), rollout, stop, watch=watch))
    results = {one["device"]: one for one in json.loads(capsys.readouterr().out)["results"]}
    assert {name: one["outcome"] for name, one in results.items()} == {
        "a": "rotated",
        "b": "failed",
        "c": "interrupted",
    }
    assert results["b"]["error"] == {
        "kind": "InventoryError",
        "message": "the vault does not open",
        "hint": "look at the password file",
    }
    assert "could not be looked up" in results["c"]["reason"]
    assert status is ExitStatus.FAILED
    summary = fleet.events[-1]
    assert summary.kind is EventKind.SUMMARY
    assert {one.device for one in summary.results} == {"a", "b", "c"}


def test_a_state_database_that_is_lost_hides_nothing_of_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    def begin(*_: object) -> Iterator[RotationResult]:
        yield RotationResult("a", Outcome.ROTATED)
        raise JournalError("the disk is full", hint="make room")

    app = cast(App, SimpleNamespace(settings=SimpleNamespace(rotation=SimpleNamespace(forks=1))))
    assert Run(app, Shared(output=Form.JSON), Pace(), lambda: 1).follow(begin) is ExitStatus.UNEXPECTED
    said = capsys.readouterr()
    assert [one["device"] for one in json.loads(said.out)["results"]] == ["a"]
    assert "make room" in said.err
