# SPDX-License-Identifier: Apache-2.0
"""Commands of the operator's before and after a device, on the orchestrator, without a shell.

=======================  =========================================================================================
environment              holds
=======================  =========================================================================================
``OTTR_HOOK``            ``before`` or ``after``
``OTTR_DEVICE``          the device's name in the inventory
``OTTR_ADDRESS``         its address
``OTTR_NAMES``           the names of its certificate, the common name first, with spaces between
``OTTR_OUTCOME``         after: ``rotated``, ``rolled_back``, ``failed``, ... as in the results; before: empty
``OTTR_ROTATION_ID``     after: the rotation, as `ottr history` has it; empty when none was begun
``OTTR_SERIAL``          after: serial number of the new certificate, lower-case hex; empty when there is none
``OTTR_NOT_AFTER``       after: its last moment, ISO 8601 in UTC; empty when there is none
``RENEWED_DOMAINS``      after a rotation that went well: as ``OTTR_NAMES`` (certbot's name for it)
``FAILED_DOMAINS``       after one that did not: as ``OTTR_NAMES`` (certbot's name for it)
=======================  =========================================================================================

certbot's ``RENEWED_LINEAGE`` is not there: no private key and no certificate is kept on the orchestrator.
A ``before`` command that fails stops the rotation; the device is not touched, and the ``after`` commands run.
An ``after`` command that fails is a warning, for what was done is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Protocol

from ottr.commands import CommandError, run_command
from ottr.errors import HookFailed
from ottr.model import Device, Outcome, RotationResult, Route

_CERTBOT_NAMES = ("RENEWED_DOMAINS", "RENEWED_LINEAGE", "FAILED_DOMAINS")
_FAILED = frozenset({Outcome.FAILED, Outcome.ROLLED_BACK, Outcome.STRANDED, Outcome.UNREACHABLE})


class Hooked(Protocol):
    """A device with its route."""

    @property
    def device(self) -> Device:
        """Who."""

    @property
    def route(self) -> Route:
        """How; it has the commands."""


class CommandHooks:
    """Runs the commands of the routes."""

    def __init__(self, environment: Mapping[str, str], *, timeout_s: float = 300.0) -> None:
        self._environment = {name: value for name, value in environment.items() if name not in _CERTBOT_NAMES}
        self._timeout_s = timeout_s

    def before(self, target: Hooked) -> None:
        """Run the commands before a device. Raises HookFailed at the first that fails."""
        environment = {**self._environment, **_describe(target.device), "OTTR_HOOK": "before", **_describe_result(None)}
        for command in target.route.before:
            try:
                run_command(command, environment, timeout_s=self._timeout_s)
            except CommandError as error:
                hint = f"run it by hand, or take it out of the route in line {target.route.line} of routing.yaml"
                raise HookFailed(f"hook before {target.device.name}: {error}", hint=hint) from error

    def after(self, target: Hooked, result: RotationResult) -> str:
        """Run all commands after a device; return a warning that names those that failed, else nothing."""
        names = " ".join(target.device.dns_names)
        environment = {
            **self._environment,
            **_describe(target.device),
            "OTTR_HOOK": "after",
            **_describe_result(result),
            **({"RENEWED_DOMAINS": names} if result.outcome is Outcome.ROTATED else {}),
            **({"FAILED_DOMAINS": names} if result.outcome in _FAILED else {}),
        }
        failures = []
        for command in target.route.after:
            try:
                run_command(command, environment, timeout_s=self._timeout_s)
            except CommandError as error:
                failures.append(f"hook after {target.device.name}: {error}")
        return "; ".join(failures)


def _describe(device: Device) -> dict[str, str]:
    return {
        "OTTR_DEVICE": device.name,
        "OTTR_ADDRESS": device.address,
        "OTTR_NAMES": " ".join(device.dns_names),
    }


def _describe_result(result: RotationResult | None) -> dict[str, str]:
    """What is known after a device; the same names, empty, before it."""
    not_after = result.not_after if result else None
    return {
        "OTTR_OUTCOME": result.outcome.value if result else "",
        "OTTR_ROTATION_ID": result.rotation_id if result else "",
        "OTTR_SERIAL": result.serial if result else "",
        "OTTR_NOT_AFTER": not_after.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if not_after else "",
    }
