# SPDX-License-Identifier: Apache-2.0
"""The one door: every front end parses, calls one verb of this service, and shows what it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial

from ottr.errors import InventoryError, RoutingError, SettingsError
from ottr.fleetrun import FleetRun, Logins, Wanted, build_units, set_aside
from ottr.inventory import Inventory, InventoryHost
from ottr.model import (
    Clock,
    Outcome,
    RotationResult,
    ServedStatus,
    Step,
    VerifyResult,
)
from ottr.notify import Notifier
from ottr.orchestrator import inspection, preflight, renewal, runner, undo
from ottr.orchestrator.rotation import Watcher
from ottr.orchestrator.runner import Rollout, Stop
from ottr.orchestrator.target import Stores, Surroundings, Target
from ottr.policy import Decision
from ottr.routing import Router, Trial
from ottr.selection import Candidate, Selector, decide_open, queue, take_up
from ottr.state.held import Held, find_held
from ottr.state.journal import Entry, Record
from ottr.state.view import StateView, half_installed, load_view


@dataclass(frozen=True, slots=True)
class Selection:
    """Which hosts a verb is about, in Ansible's words."""

    pattern: str = "all"
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a host is or is not rotated."""

    candidate: Candidate
    trials: tuple[Trial, ...]
    history: tuple[Record, ...]


def ignore(device: str, step: object) -> None:
    """A watcher that looks away."""


class RotationService:
    """Plan, rotate and look back. Not for several threads; it starts its own."""

    def __init__(
        self,
        inventory: Inventory,
        router: Router,
        selector: Selector,
        stores: Stores,
        surround: Callable[[], Surroundings],
        notifier: Notifier,
        logins: Logins,
        clock: Clock,
    ) -> None:
        """Build nothing that only a rotation needs: ``surround`` is called by the verbs that touch something."""
        self._inventory = inventory
        self._router = router
        self._selector = selector
        self._stores = stores
        self._surround = surround
        self._notifier = notifier
        self._logins = logins
        self._clock = clock

    @cached_property
    def _around(self) -> Surroundings:
        return self._surround()

    def plan(self, selection: Selection, *, forced: bool = False) -> list[Candidate]:
        """Every host with its reason code, in the inventory's order. Connects to nothing."""
        hosts = self._inventory.hosts(selection.pattern, selection.limit)
        return self._selector.select(hosts, self._view(), self._clock(), forced=forced)

    def explain(self, host: str) -> Explanation:
        """Trace selection, route and history of one host. Raises InventoryError when there is none of that name."""
        [candidate] = self.plan(Selection(host))[:1]
        trials = self._router.explain(candidate.device) if candidate.device else ()
        return Explanation(candidate, trials, tuple(self._stores.journal.history(candidate.host.name)))

    def history(self, device: str) -> list[tuple[Record, Sequence[Entry]]]:
        """All rotations of a device with their steps, the oldest first."""
        journal = self._stores.journal
        return [(record, journal.entries(record.id)) for record in journal.history(device)]

    def rotate(
        self,
        selection: Selection,
        rollout: Rollout,
        stop: Stop,
        *,
        forced: bool = False,
        until: Step = Step.RECORD,
        watch: Watcher = ignore,
    ) -> Iterator[RotationResult]:
        """Rotate what is due; a result for every host of the selection, skipped and not due ones first.

        ``until`` holds each rotation after a step; ``go_on``, ``resume`` and the next run go on with it.
        """
        hosts = self._inventory.hosts(selection.pattern, selection.limit)
        self._refresh_windows(hosts, rollout)
        candidates = self._selector.select(hosts, self._view(), self._clock(), forced=forced)
        yield from self._run(candidates, rollout, stop, Wanted(partial(self._decide, forced=forced), watch, until))

    def go_on(self, selection: Selection, rollout: Rollout, stop: Stop, *, until: Step) -> Iterator[RotationResult]:
        """Take open rotations as far as a step, whatever back-off and windows say; all others are not due.

        Verifying is for what is installed: what is not is left as it is.
        """
        journal = self._stores.journal
        open_ones = {
            record.device
            for record in journal.open_rotations()
            if until is not Step.VERIFY or half_installed(journal, record)
        }
        candidates = [take_up(one, open_ones) for one in self.plan(selection)]
        yield from self._run(candidates, rollout, stop, Wanted(self._decide_open, ignore, until))

    def resume(self, rollout: Rollout, stop: Stop, *, watch: Watcher = ignore) -> Iterator[RotationResult]:
        """Finish what is open, whatever back-off and windows say: somebody asks for it."""
        open_ones = {record.device for record in self._stores.journal.open_rotations()}
        if not open_ones:
            return
        candidates = [one for one in self.plan(Selection()) if one.host.name in open_ones]
        missing = open_ones - {one.host.name for one in candidates}
        for name in sorted(missing):
            yield RotationResult(name, Outcome.SKIPPED, reason="not_in_inventory")
        due = [take_up(one, open_ones) for one in candidates]
        yield from self._run(due, rollout, stop, Wanted(self._decide_open, watch))

    def held(self, device: str) -> Held | None:
        """What the open rotation of a device has come to; None without one."""
        return find_held(device, self._stores.journal)

    def check(self, selection: Selection, rollout: Rollout, stop: Stop) -> Iterator[RotationResult]:
        """What a rotation would meet: real look at device, DNS and CA; no key, no order, no change."""
        candidates = self.plan(selection)
        named = selection.pattern != "all"  # who names hosts wants to know about them, due or not
        looked_at = [one for one in candidates if one.route] if named else queue(candidates)
        yield from (set_aside(one) for one in candidates if one not in looked_at)
        hosts, units = build_units(looked_at)
        self._logins.prepare(hosts)
        singles = [[target] for unit in units for target in unit]  # one that is not ready hides none of its HA group
        yield from runner.run(singles, partial(preflight.check, around=self._around), rollout, stop)

    def verify(
        self, selection: Selection, rollout: Rollout, stop: Stop, *, remember: bool = True
    ) -> Iterator[VerifyResult]:
        """Look at what every endpoint serves now, and write it down; connects to endpoints only."""
        candidates = self.plan(selection)
        for one in candidates:
            if one.route is None:
                yield VerifyResult(one.host.name, "", ServedStatus.SKIPPED, f"{one.reason}: {one.message}")
        targets = [Target(one.device, one.route) for one in candidates if one.device and one.route]
        look = partial(inspection.verify, around=self._around, remember=remember)
        yield from runner.each(targets, look, rollout.forks, stop)

    def find_rollback(self, device: str) -> Record:
        """The rotation that ``rollback`` would take back. Raises RotationError when there is none."""
        return undo.find_installed(device, self._stores.journal)

    def rollback(self, device: str) -> RotationResult:
        """Go back to the certificate before. Raises OttrError."""
        target = self._target(device)
        with self._stores.leases.kept():
            return undo.roll_back(target, self._around)

    def abandon(self, device: str) -> RotationResult:
        """Give the open rotation of a device up, also of one that has left the inventory. Raises OttrError."""
        try:
            target = self._target(device)
        except (InventoryError, RoutingError):
            if not self._stores.journal.open_rotations(device):
                raise
            return undo.forget(device, self._around)
        with self._stores.leases.kept():
            return undo.abandon(target, self._around)

    def cleanup(self, device: str, *, remove: bool, foreign: bool = False) -> tuple[str, ...]:
        """Labels of orphans on a device, those of other state databases too if asked; removed when told to."""
        target = self._target(device)
        with self._stores.leases.kept():
            return undo.find_orphans(target, self._around, remove=remove, foreign=foreign)

    def release(self, device: str) -> tuple[str, ...]:
        """Let the next run try a device again at once: out of quarantine, no back-off, nobody's lease on it or its HA
        group."""
        released = undo.release(device, self._find_group(device), self._stores)
        if not released:
            self._inventory.hosts(device)  # a name that nobody has is a mistake
        return released

    def _find_group(self, device: str) -> str:
        """HA group of a device; empty: none, or a device that has left the inventory."""
        with suppress(InventoryError):
            for one in self.plan(Selection(device)):
                if one.host.name == device and one.device:
                    return one.device.ha_group
        return ""

    def account(self, issuer: str, *, new_key: bool) -> str:
        """URL of the account at a CA, registered if it is not; its key changed if told to. Raises OttrError."""
        if issuer not in self._around.authorities:
            known = ", ".join(sorted(self._around.authorities)) or "none"
            raise SettingsError(f"there is no issuer {issuer!r}; issuers of ottr.yaml: {known}")
        authority = self._around.authorities[issuer]
        if new_key:
            authority.issuer.change_account_key()
        return authority.issuer.account_url()

    def _target(self, device: str) -> Target:
        """One host as a target, its login looked up. Raises InventoryError and RoutingError."""
        [candidate, *others] = self.plan(Selection(device))
        if others:
            raise InventoryError(f"{device} means {len(others) + 1} hosts", hint="name one host")
        if candidate.device is None or candidate.route is None:
            raise RoutingError(
                f"{device}: {candidate.reason}: {candidate.message}", hint=f"see `ottr explain {device}`"
            )
        self._logins.prepare([candidate.host])
        return Target(candidate.device, candidate.route)

    def _run(
        self, candidates: Sequence[Candidate], rollout: Rollout, stop: Stop, wanted: Wanted
    ) -> Iterator[RotationResult]:
        yield from (set_aside(one) for one in candidates if not one.due)
        due = queue(candidates)
        if due:
            yield from FleetRun(self._around, self._logins, self._notifier, wanted, stop).rotate(due, rollout)

    def _decide(self, target: Target, *, forced: bool) -> Decision:
        view = self._view(target.device.name)
        return self._selector.decide(target.device, target.route, view, self._clock(), forced=forced)

    def _decide_open(self, target: Target) -> Decision:
        return decide_open(is_open=bool(self._stores.journal.open_rotations(target.device.name)))

    def _refresh_windows(self, hosts: Sequence[InventoryHost], rollout: Rollout) -> None:
        """Ask the CAs for renewal windows that are to be asked for again; none of them can stop a run."""
        current = self._stores.certificates.current()
        known = [(host.name, current[host.name].ca) for host in hosts if host.name in current]
        if known:
            renewal.refresh(self._around, known, rollout.forks)

    def _view(self, device: str | None = None) -> StateView:
        stores = self._stores
        return load_view(stores.journal, stores.certificates, stores.schedules, device)
