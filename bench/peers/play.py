# SPDX-License-Identifier: Apache-2.0
"""``playbooks/rotate.yml``: the same engine, asked by Ansible host by host."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.fleet import Fleet
from bench.peers import Command

ROOT = Path(__file__).parents[2]


def build_play(fleet: Fleet, folder: Path, playbook: Path) -> tuple[Command, str]:
    """A playbook in one batch, with as many forks as ``ottr rotate`` has; and how it is run, in words."""
    forks = os.environ.get("OTTR_FORKS", "50" if fleet.sleeps else "16")
    argv = (str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(fleet.lab.inventory), "--forks", forks)
    environment = {
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder),
        "OTTR_CONFIG": str(fleet.lab.settings),
    }
    about = f"forks {forks}, one batch, state database empty at the start"
    return Command((*argv, "-e", '{"batches": ["100%"]}', str(playbook)), environment), about


class Peer:
    """One batch."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self._command, self.about = build_play(fleet, folder, ROOT / "playbooks" / "rotate.yml")

    def build_command(self, number: int, /) -> Command:
        """See Peer."""
        del number
        return self._command
