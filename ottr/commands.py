# SPDX-License-Identifier: Apache-2.0
"""Running an operator's command on this machine: without a shell, with a deadline, never leaving it running."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import IO

from ottr.model import Secret

_TAIL_BYTES = 4096
_LONGEST_LINE = 300
_GRACE_S = 2.0


class CommandError(Exception):
    """A command could not be started, did not end in time, or ended with another status than 0."""


def run_command(
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    timeout_s: float,
    stdin: bytes = b"",
    name: str = "",
    hide: Iterable[Secret] = (),
) -> None:
    """Run an argument vector to its end. Raises CommandError with its last line on standard error.

    It runs in a session of its own, so that Ctrl-C reaches the orchestrator only. Files take its input and its
    standard error: a pipe could be kept open by a child left behind. ``name`` stands for the command in errors
    (empty: its arguments), and of what it says the secrets of ``hide`` are blacked out.
    """
    name = name or _printable(shlex.join(command))
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        status = _run(command, environment, timeout_s, given, errors, name)
        if status != 0:
            how = f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"
            said = _printable(_black_out(_last_line(errors), hide))
            raise CommandError(f"{name} {how}" + (f": {said}" if said else ""))


def _run(
    command: Sequence[str],
    environment: Mapping[str, str],
    timeout_s: float,
    given: IO[bytes],
    errors: IO[bytes],
    name: str,
) -> int:
    try:
        process = subprocess.Popen(
            command, stdin=given, stdout=subprocess.DEVNULL, stderr=errors, env=environment, start_new_session=True
        )
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandError(f"{name} cannot be started: {said}") from error
    try:
        return process.wait(timeout_s)
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{name} did not end within {timeout_s:g} s") from error
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the command if it still runs, with whatever it started: asked first, then not asked."""
    if process.poll() is not None:
        return
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal_number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)


def _last_line(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _TAIL_BYTES))
    lines = errors.read().decode("utf-8", "replace").split("\n")
    written = [line.strip() for line in lines if line.strip()]
    return written[-1] if written else ""


def _black_out(text: str, secrets: Iterable[Secret]) -> str:
    for secret in secrets:
        if secret.reveal():
            text = text.replace(secret.reveal(), str(secret))
    return text


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text[:_LONGEST_LINE])
