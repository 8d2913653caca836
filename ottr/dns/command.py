# SPDX-License-Identifier: Apache-2.0
"""A command of the operator's that writes records: ``COMMAND... present|cleanup NAME VALUE``, without a shell.

Options: ``command`` (argument vector), ``environment`` (more variables; their values may be secrets), ``timeout_s``,
``serialize`` (``zone``: one call at a time in a zone, the default; ``name``: one at a time at a name).

The command finds ``OTTR_ACTION``, ``OTTR_RECORD_NAME``, ``OTTR_RECORD_VALUE`` and ``OTTR_ZONE`` in its environment,
and certbot's ``CERTBOT_DOMAIN`` and ``CERTBOT_VALIDATION``, so that hooks written for certbot need little change.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from ottr.dns.options import SolverOptions
from ottr.dns.serialization import KeyedLocks
from ottr.dns.zones import challenged_name, longest_zone
from ottr.errors import DnsError
from ottr.model import Secret, TxtRecord
from ottr.settings import SolverSettings

_OPTIONS = ("command", "environment", "timeout_s", "serialize")
_TAIL_BYTES = 4096
_LONGEST_LINE = 300


@dataclass(frozen=True, slots=True)
class CommandSolver:
    """Calls the command for each value."""

    zones: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str | Secret] = field(default_factory=dict, hash=False)
    timeout_s: float = 60.0
    serialize: str = "zone"
    _locks: KeyedLocks = field(default_factory=KeyedLocks, repr=False, compare=False)

    def present(self, record: TxtRecord) -> None:
        """Call the command to add this value. Raises DnsError."""
        self._call("present", record)

    def cleanup(self, record: TxtRecord) -> None:
        """Call the command to remove this value. Raises DnsError."""
        self._call("cleanup", record)

    def _call(self, action: str, record: TxtRecord) -> None:
        zone = longest_zone(record.name, self.zones) or ""
        lock = self._locks.find(zone if self.serialize == "zone" else record.name)
        with lock, tempfile.TemporaryFile() as errors:
            status = self._run(action, record, zone, errors)
            if status != 0:
                raise self._failed(action, record, status, errors)

    def _run(self, action: str, record: TxtRecord, zone: str, errors: IO[bytes]) -> int:
        """Return the exit status. A file takes stderr: a pipe could be kept open by a child left behind."""
        try:
            process = subprocess.Popen(
                [*self.command, action, record.name, record.value],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, **self._variables(action, record, zone)},
                start_new_session=True,
            )
        except OSError as error:
            raise DnsError(
                f"the hook {self.command[0]} cannot be started: {error.strerror or error}",
                hint="check `command` of the solver: the program must exist and be executable",
            ) from error
        try:
            return process.wait(self.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise DnsError(
                f"the hook {self.command[0]} {action} {record.name} did not end within {self.timeout_s:g} s",
                hint="run the hook by hand with these arguments, or raise `timeout_s` of the solver",
            ) from error
        finally:
            _end(process)

    def _variables(self, action: str, record: TxtRecord, zone: str) -> dict[str, str]:
        return {
            **{name: _reveal(value) for name, value in self.environment.items()},
            "OTTR_ACTION": action,
            "OTTR_RECORD_NAME": record.name,
            "OTTR_RECORD_VALUE": record.value,
            "OTTR_ZONE": zone,
            "CERTBOT_DOMAIN": challenged_name(record.name),
            "CERTBOT_VALIDATION": record.value,
        }

    def _failed(self, action: str, record: TxtRecord, status: int, errors: IO[bytes]) -> DnsError:
        how = f"ended with status {status}" if status > 0 else f"was killed by signal {-status}"
        said = self._redact(_last_line(errors))
        return DnsError(
            f"the hook {self.command[0]} {action} {record.name} {how}" + (f": {said}" if said else ""),
            hint="run the hook by hand with these arguments; its last line on standard error is shown",
        )

    def _redact(self, text: str) -> str:
        for value in self.environment.values():
            if isinstance(value, Secret) and value.reveal():
                text = text.replace(value.reveal(), str(value))
        return text[:_LONGEST_LINE]


def _reveal(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the command if it still runs, with whatever it started."""
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _last_line(errors: IO[bytes]) -> str:
    size = errors.seek(0, os.SEEK_END)
    errors.seek(max(0, size - _TAIL_BYTES))
    lines = errors.read().decode("utf-8", "replace").split("\n")
    written = [line.strip() for line in lines if line.strip()]
    last = written[-1] if written else ""
    return "".join(char if char.isprintable() else "?" for char in last)


def build_solver(settings: SolverSettings) -> CommandSolver:
    """Build the solver from its settings. Raises SettingsError."""
    options = SolverOptions(settings, _OPTIONS)
    command = options.words("command")
    return CommandSolver(
        zones=settings.zones,
        command=(str(Path(command[0]).expanduser()), *command[1:]),
        environment=options.table("environment"),
        timeout_s=options.number("timeout_s", 60, 0.1, 3600),
        serialize=options.choice("serialize", ("zone", "name"), "zone"),
    )
