# SPDX-License-Identifier: Apache-2.0
"""A run that ends early still shows what it has done."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ottr.app import App
from ottr.cli.options import Form, Pace, Shared
from ottr.cli.rollout import Run
from ottr.errors import InventoryError
from ottr.report import ExitStatus
from ottr.service import Selection
from tests.unit.test_service import Fleet


def test_secrets_that_cannot_be_read_for_a_later_batch_hide_nothing_of_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The vault's password changed in between, say: devices of the first batch were rotated, and that is told."""
    fleet, batches = Fleet(tmp_path, "a", "b"), list[object]()

    def prepare(hosts: object) -> None:
        batches.append(hosts)
        if len(batches) == 2:
            raise InventoryError("the vault does not open", hint="look at the password file")

    fleet.prepare = prepare
    app = cast(App, SimpleNamespace(settings=SimpleNamespace(rotation=SimpleNamespace(forks=1))))
    run = Run(app, Shared(output=Form.JSON), Pace(serial="1"), lambda: 2)
    status = run.follow(lambda rollout, stop, watch: fleet.service().rotate(Selection(), rollout, stop, watch=watch))
    said = capsys.readouterr()
    assert status is ExitStatus.UNEXPECTED
    assert [(one["device"], one["outcome"]) for one in json.loads(said.out)["results"]] == [("a", "rotated")]
    assert "look at the password file" in said.err
