# SPDX-License-Identifier: Apache-2.0
"""Three hosts for all plays of one test worker; every operator has files, state and history of their own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr.ca.opening import init_authority
from ottr.lab import Lab
from ottr.lab.sessions import end_sessions
from tests.acceptance.cli.shell import Operator, begin_anew
from tests.ca.conftest import CHEAP, PASSPHRASE, SETTINGS
from tests.collection.player import Player


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("plays") / "lab", 3) as running:
        yield running


@pytest.fixture
def player(fleet: Lab, tmp_path: Path) -> Iterator[Player]:
    """Somebody with the lab's files; no host was rotated yet."""
    end_sessions(str(fleet.folder))  # of a play that was killed; its scripts would go on
    for host in fleet.hosts:
        begin_anew(host)
    with tempfile.TemporaryDirectory(prefix="ottr-") as temporary, Operator.beside(fleet, tmp_path) as somebody:
        yield Player(somebody, temporary)


@pytest.fixture(scope="session")
def fresh_authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A private CA that has just been made, to be copied; opening its keys costs next to nothing."""
    folder = tmp_path_factory.mktemp("authority") / "ca"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ottr.ca.envelope.choose_derivation", lambda kdf: CHEAP)
        init_authority(folder, SETTINGS, PASSPHRASE)
    return folder


@pytest.fixture
def authority_folder(player: Player, fresh_authority: Path) -> Path:
    """A private CA beside the operator's files."""
    return Path(shutil.copytree(fresh_authority, player.folder / "ca"))
