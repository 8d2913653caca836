# SPDX-License-Identifier: Apache-2.0
"""Two hosts for all commands of one test worker; every operator has files, state and history of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr.lab import Lab
from ottr.lab.sessions import end_sessions
from tests.acceptance.cli.shell import Operator, begin_anew


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("fleet") / "lab", 2) as running:
        yield running


@pytest.fixture
def operator(fleet: Lab, tmp_path: Path) -> Iterator[Operator]:
    """Somebody at a shell, with the lab's files taken over by ``ottr init``; no host was rotated yet."""
    end_sessions(str(fleet.folder))  # what a run that was killed has begun on a host goes on there
    for host in fleet.hosts:
        begin_anew(host)
    with Operator.beside(fleet, tmp_path) as somebody:
        yield somebody


@pytest.fixture(scope="session")
def rotated(fleet: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """An operator whose two hosts were rotated once; to be looked at only, and the hosts may have moved on since."""
    with Operator.beside(fleet, tmp_path_factory.mktemp("rotated")) as somebody:
        somebody.run("rotate", "all", "--force")
        yield somebody
