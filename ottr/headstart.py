# SPDX-License-Identifier: Apache-2.0
"""The process that reads the inventory, begun before it is known what it shall read.

It has Ansible to import, which takes as long as all that this process imports. Hence this module itself imports little.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Final

import ottr

PROGRAM: Final = Path(ottr.__file__).parent.parent / "ansible_collections/ottr/pki/scripts/read_inventory"

_COMMANDS: Final = frozenset({"rotate", "resume", "plan", "verify", "explain"})
"""They all read the inventory."""
_HELP: Final = frozenset({"-h", "--help"})

Begun = tuple[subprocess.Popen[bytes], IO[bytes]]
"""A reader that waits for its first request, and the file that its stderr goes to."""

_begun: ContextVar[Begun | None] = ContextVar("begun", default=None)


def spawn(python: str = sys.executable) -> Begun:
    """Start a reader. Raises OSError."""
    errors = tempfile.TemporaryFile()  # noqa: SIM115 it lives as long as the process
    try:
        process = subprocess.Popen(
            [python, "-P", str(PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(os.environ),
            # An interrupt at the terminal is the parent's to handle; and what sources start ends with the reader.
            start_new_session=True,
        )
    except OSError:
        errors.close()
        raise
    return process, errors


def begin(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Start a reader if this command line reads an inventory and no earlier answer is remembered.

    It is no more than a guess: who wants a reader takes this one, and if nobody does it is ended.
    """
    reads = words and words[0] in _COMMANDS and not _HELP.intersection(words)
    if reads and not _remembers(default_folder(environment)):
        with suppress(OSError):  # whoever wants one will say so
            _begun.set(spawn())


def take() -> Begun | None:
    """The reader that was begun, for whoever asks first."""
    begun = _begun.get()
    _begun.set(None)
    return begun


def dismiss() -> None:
    """End the reader that nobody took."""
    begun = take()
    if begun is not None:
        process, errors = begun
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with process, errors:  # closes and waits
            pass


def default_folder(environment: Mapping[str, str]) -> Path:
    """``ottr`` in the user's cache folder (XDG base directories)."""
    home = environment.get("HOME") or str(Path.home())
    return Path(environment.get("XDG_CACHE_HOME") or Path(home) / ".cache") / "ottr"


def _remembers(folder: Path) -> bool:
    """Whether there is any answer of a reader; whether it holds is found out later."""
    try:
        return any(folder.glob("inventory-*.json"))
    except OSError:
        return False


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    """Ansible refuses to run in a locale that is not UTF-8, such as that of cron."""
    environment = dict(given)
    locale = given.get("LC_ALL") or given.get("LC_CTYPE") or given.get("LANG") or ""
    if "utf" not in locale.lower():
        environment["LC_ALL"] = "C.UTF-8"
    return environment
