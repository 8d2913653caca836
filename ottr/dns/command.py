# SPDX-License-Identifier: Apache-2.0
"""A command of the operator's that writes records: ``COMMAND... present|cleanup NAME VALUE``, without a shell.

Options: ``command`` (argument vector), ``environment`` (more variables; their values may be secrets), ``timeout_s``,
``serialize`` (``zone``: one call at a time in a zone, the default; ``name``: one at a time at a name). Variables that
ottr.yaml takes secrets from are not inherited: what the command needs of them stands under ``environment``.

The command finds ``OTTR_ACTION``, ``OTTR_RECORD_NAME``, ``OTTR_RECORD_VALUE`` and ``OTTR_ZONE`` in its environment,
and certbot's ``CERTBOT_DOMAIN`` and ``CERTBOT_VALIDATION``, so that hooks written for certbot need little change.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ottr.commands import CommandError, run_command
from ottr.dns.options import SolverOptions
from ottr.dns.serialization import KeyedLocks
from ottr.dns.zones import challenged_name, longest_zone
from ottr.errors import DnsError
from ottr.model import Secret, TxtRecord
from ottr.settings import SolverSettings

_OPTIONS = ("command", "environment", "timeout_s", "serialize")


@dataclass(frozen=True, slots=True)
class CommandSolver:
    """Calls the command for each value."""

    zones: tuple[str, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str | Secret] = field(default_factory=dict, hash=False)
    inherited: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Of this process's own environment."""
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
        try:
            with self._locks.find(zone if self.serialize == "zone" else record.name):
                run_command(
                    [*self.command, action, record.name, record.value],
                    {**self.inherited, **self._variables(action, record, zone)},
                    timeout_s=self.timeout_s,
                    name=f"the hook {self.command[0]} {action} {record.name}",
                    hide=[value for value in self.environment.values() if isinstance(value, Secret)],
                )
        except CommandError as error:
            raise DnsError(
                str(error),
                hint="run the hook by hand with these arguments; `command` of the solver must be executable and "
                "end within its `timeout_s`",
            ) from error

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


def _reveal(value: str | Secret) -> str:
    return value.reveal() if isinstance(value, Secret) else value


def build_solver(settings: SolverSettings) -> CommandSolver:
    """Build the solver from its settings. Raises SettingsError."""
    options = SolverOptions(settings, _OPTIONS)
    command = options.words("command")
    return CommandSolver(
        zones=settings.zones,
        command=(str(Path(command[0]).expanduser()), *command[1:]),
        environment=options.table("environment"),
        inherited={name: value for name, value in os.environ.items() if name not in settings.withheld},
        timeout_s=options.number("timeout_s", 60, 0.1, 3600),
        serialize=options.choice("serialize", ("zone", "name"), "zone"),
    )
