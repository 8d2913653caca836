# SPDX-License-Identifier: Apache-2.0
"""Who is compared: Ottr, the floor below it, and what people use today."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast

from bench.fleet import Fleet

NAMES = ("floor", "ottr", "play", "steps", "lego", "certbot", "ansible")
"""In the order of the first round."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is measured: one process and what it starts."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    """In addition to ours."""


class Peer(Protocol):
    """One way to rotate the fleet. The module ``bench.peers.<name>`` has a class ``Peer`` like this."""

    about: str
    """How it is run, for the report."""

    def __init__(self, fleet: Fleet, folder: Path) -> None:
        """Write its files into ``folder``."""

    def build_command(self, number: int, /) -> Command:
        """Make ready for run ``number`` (register an account), which is not measured; return what to run."""


def build_peer(name: str, fleet: Fleet, folder: Path) -> Peer:
    """Make a peer by its name, in a new folder of its own."""
    folder.mkdir(parents=True)
    module = importlib.import_module(f"{__name__}.{name}")
    return cast(Peer, module.Peer(fleet, folder))


def find_environment(name: str) -> Path:
    """The virtual environment of a peer's own, beside ours; ``bench/setup`` makes it. Raises FileNotFoundError."""
    folder = Path(__file__).parents[2] / ".venv" / "bench" / name
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not there; `make bench` makes it")
    return folder
