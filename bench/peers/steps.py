# SPDX-License-Identifier: Apache-2.0
"""The four steps of a rotation as four tasks of a play."""

from __future__ import annotations

from pathlib import Path

from bench.fleet import Fleet
from bench.peers import Command
from bench.peers.play import build_play

_PLAYBOOK = """---
- name: Rotate in steps
  hosts: all
  gather_facts: false
  tasks:
    - name: Make key and CSR
      ottr.pki.csr:
    - name: Have the certificate issued
      ottr.pki.order:
    - name: Install the certificate
      ottr.pki.install:
    - name: See it served
      ottr.pki.verify:
"""


class Peer:
    """One batch."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        playbook = folder / "steps.yml"
        playbook.write_text(_PLAYBOOK)
        self._command, self.about = build_play(fleet, folder, playbook)

    def build_command(self, number: int, /) -> Command:
        """See Peer."""
        del number
        return self._command
