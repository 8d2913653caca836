# SPDX-License-Identifier: Apache-2.0
"""What logins left behind: a process of a host must not outlive it, as on a machine that is switched off."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

MARK = "OTTR_LAB"
"""Variable in the environment of everything that was started over a lab's sshd."""

_TIMEOUT_S = 10.0


def end_sessions(mark: str) -> None:
    """Kill every process whose environment says that it belongs to the lab ``mark``, and wait until none is left."""
    wanted = f"{MARK}={mark}".encode()
    deadline = time.monotonic() + _TIMEOUT_S
    while (found := _find(wanted)) and time.monotonic() < deadline:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _find(wanted: bytes) -> list[int]:
    processes = [entry for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [int(entry.name) for entry in processes if wanted in _read_environment(entry)]


def _read_environment(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []
