# SPDX-License-Identifier: Apache-2.0
"""One run over the devices that are due: hands them to the runner, tells what happened, forgets what is long over."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Protocol

from ottr.errors import JournalError
from ottr.inventory import InventoryHost
from ottr.model import Outcome, RotationResult, Step
from ottr.notify import Event, EventKind, Notifier
from ottr.orchestrator import devicerun, runner
from ottr.orchestrator.rotation import Watcher
from ottr.orchestrator.runner import Rollout, Stop, Unit
from ottr.orchestrator.target import Surroundings, Target
from ottr.policy import Decision
from ottr.selection import Candidate


class Logins(Protocol):
    """Looks up credentials for the devices of one batch, and forgets those of the one before."""

    def prepare(self, hosts: Sequence[InventoryHost]) -> None:
        """Look up what logging in to these takes. Raises CredentialsError."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a run does with each of its devices."""

    decide: Callable[[Target], Decision]
    """Asked again once the device is leased."""
    watch: Watcher
    until: Step = Step.RECORD
    """The step that each rotation is held after."""


class FleetRun:
    """Rotates the candidates that are due."""

    def __init__(self, around: Surroundings, logins: Logins, notifier: Notifier, wanted: Wanted, stop: Stop) -> None:
        self._around = around
        self._logins = logins
        self._notifier = notifier
        self._wanted = wanted
        self._stop = stop
        self._id = secrets.token_hex(6)

    def rotate(self, candidates: Sequence[Candidate], rollout: Rollout) -> Iterator[RotationResult]:
        """A result for each of them, as they come."""
        hosts, units = build_units(candidates)
        results: list[RotationResult] = []
        prepare = partial(self._prepare, {host.name: host for host in hosts})
        with self._around.stores.leases.kept():
            for result in runner.run(units, self._rotate_one, rollout, self._stop, prepare):
                results.append(result)
                self._tell(result)
                yield result
        self._notifier.notify(Event(EventKind.SUMMARY, self._around.clock(), self._id, tuple(results)))
        self._prune()

    def _prepare(self, hosts: Mapping[str, InventoryHost], batch: Sequence[Unit]) -> None:
        self._logins.prepare([hosts[target.device.name] for unit in batch for target in unit])

    def _rotate_one(self, target: Target) -> RotationResult:
        try:
            return devicerun.run(target, self._around, self._wanted.decide, self._wanted.watch, self._wanted.until)
        except JournalError as error:
            self._stop.set("state_lost")
            return RotationResult(target.device.name, Outcome.FAILED, reason="state_lost", error=error.report)

    def _tell(self, result: RotationResult) -> None:
        if result.outcome is Outcome.STRANDED:
            kind = EventKind.STRANDED
        elif result.outcome in runner.BAD:
            kind = EventKind.FAILED
        else:
            return
        self._notifier.notify(Event(kind, self._around.clock(), self._id, (result,)))

    def _prune(self) -> None:
        """Forget what is long over; the run has ended, and goes well without."""
        keep_s = self._around.settings.keep_history_s
        if keep_s is not None:
            with suppress(JournalError):
                self._around.stores.journal.prune(self._around.clock() - timedelta(seconds=keep_s))


def set_aside(candidate: Candidate) -> RotationResult:
    """The result of a candidate that nothing is done with."""
    route = candidate.route
    return RotationResult(
        candidate.host.name,
        Outcome.SKIPPED if candidate.decision is None else Outcome.NOT_DUE,
        reason=candidate.reason,
        driver=route.driver if route else "",
        issuer=route.issuer if route else "",
        warnings=(candidate.message,) if candidate.message else (),
    )


def build_units(candidates: Sequence[Candidate]) -> tuple[list[InventoryHost], list[list[Target]]]:
    """One unit for each device, or for each HA group: its members follow one another."""
    units: dict[str, list[Target]] = {}
    for one in candidates:
        if one.device is not None and one.route is not None:
            key = f"group {one.device.ha_group}" if one.device.ha_group else f"device {one.device.name}"
            units.setdefault(key, []).append(Target(one.device, one.route))
    return [one.host for one in candidates], list(units.values())
