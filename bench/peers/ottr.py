# SPDX-License-Identifier: Apache-2.0
"""The real command, every time with an empty state folder and an empty inventory cache."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bench.fleet import Fleet
from bench.peers import Command


class Peer:
    """``ottr rotate``: 16 forks; 50 where the CA sleeps."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        self._folder = folder
        self._settings = fleet.lab.settings
        self._forks = int(os.environ.get("OTTR_FORKS", "50" if fleet.sleeps else "16"))
        self.about = f"forks {self._forks}, state database and inventory cache empty at the start"

    def build_command(self, number: int, /) -> Command:
        """See Peer. The cache is in a folder that does not exist yet."""
        cache = self._folder / f"cache{number}"
        argv = (sys.executable, "-m", "ottr", "rotate", "--forks", str(self._forks))
        return Command(argv, {"XDG_CACHE_HOME": str(cache), "OTTR_CONFIG": str(self._settings)})
