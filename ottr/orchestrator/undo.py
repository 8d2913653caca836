# SPDX-License-Identifier: Apache-2.0
"""What an operator asks for by hand: back to the former certificate, give a rotation up, try again, remove orphans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ottr import x509
from ottr.drivers import Labelled
from ottr.errors import DeviceUnreachable, RotationError, UnsupportedDevice
from ottr.model import Facts, Outcome, RotationResult, Step
from ottr.orchestrator.aftermath import remove_leftover_records, superseded, warned
from ottr.orchestrator.rotation import Rotation
from ottr.orchestrator.sessions import Sessions
from ottr.orchestrator.target import Stores, Surroundings, Target, leased
from ottr.state.journal import Entry, Journal, Record, State, device_key, group_key
from ottr.state.view import half_installed


def roll_back(target: Target, around: Surroundings) -> RotationResult:
    """Bind what was bound before the last rotation and see it served. Raises RotationError.

    No open rotation goes on after that: the next run would only bind again what was just taken away.
    """
    stores = around.stores
    with leased(target, stores.leases):
        record = find_installed(target.device.name, stores.journal)
        before = _bind_former(target, around, record)
        if record.state is State.ROTATED:
            stores.journal.update(record, state=State.ABANDONED)
        for one in stores.journal.open_rotations(target.device.name):
            stores.journal.update(one, state=State.ABANDONED, finished_at=around.clock())
        return _seen_back(target, around, record, before)


def abandon(target: Target, around: Surroundings) -> RotationResult:
    """Give the open rotation up: what is half installed goes back, its objects leave device and zones."""
    device, stores = target.device.name, around.stores
    with leased(target, stores.leases):
        records = _open_rotations(device, around)
        result = RotationResult(device, Outcome.SKIPPED, reason="abandoned", rotation_id=records[-1].id)
        for record in records:
            for warning in _take_away(target, around, record):
                result = warned(result, warning)
        remove_leftover_records(target, around)
        return result


def forget(device: str, around: Surroundings) -> RotationResult:
    """Give up the open rotations of a device that cannot be reached any more: it has left the inventory."""
    journal = around.stores.journal
    with around.stores.leases.held(device_key(device)):
        records = _open_rotations(device, around)
        for record in records:
            journal.update(record, state=State.ABANDONED, finished_at=around.clock())
    result = RotationResult(device, Outcome.SKIPPED, reason="abandoned", rotation_id=records[-1].id)
    return warned(result, "the device was not touched: what is on it of the rotation stays there")


def release(device: str, group: str, stores: Stores) -> tuple[str, ...]:
    """Take away what keeps the next run from a device; return it as sentences. ``group``: its HA group, if any."""
    schedule = stores.schedules.find(device)
    released = []
    if stores.leases.break_open(device_key(device)):
        released.append("the lease that another run held")
    if group and stores.leases.break_open(group_key(group)):
        released.append(f"the lease on the HA group {group} that another run held")
    if schedule.quarantined_at is not None:
        released.append(f"the quarantine after {schedule.failures} failures: {schedule.failure}")
    elif schedule.not_before is not None:
        released.append(f"the wait until {schedule.not_before:%Y-%m-%dT%H:%M:%SZ}")
    if schedule.quarantined_at is not None or schedule.not_before is not None:
        stores.schedules.release(device)
    return tuple(released)


def find_orphans(target: Target, around: Surroundings, *, remove: bool, foreign: bool = False) -> tuple[str, ...]:
    """Labels of ours on the device that are neither live, nor the kept previous generation, nor of an open rotation.

    What another installation (another state database) has made is left out unless ``foreign`` is asked for: it may
    be that one's previous generation. What has been made for another device of the inventory is never taken: two of
    them may be one machine.
    """
    device, stores = target.device.name, around.stores
    with leased(target, stores.leases), around.connect(target) as driver:
        if not isinstance(driver, Labelled):
            raise UnsupportedDevice(f"the driver {target.route.driver} cannot list what is on a device")
        live = driver.inspect().bound
        ended = list(stores.journal.uncleaned(device))
        current = next((record for record in ended if record.label in live), None)
        current_id, before = (current.id, _bound_before(current, around)) if current else ("", "")
        gone = superseded(ended, current_id, before)
        kept = {record.label for record in ended} - {record.label for record in gone}
        held = kept | {live} | {record.label for record in stores.journal.open_rotations(device)}
        orphans = {label for label in driver.labels() - held if foreign or stores.journal.owns(label)}
        orphans -= {label for label in orphans if _is_of_another(device, label, stores.journal)}
        if remove and orphans:
            driver.cleanup(frozenset(orphans))
            for record in ended:
                if record.label in orphans:
                    stores.journal.update(record, cleaned=True)
    return tuple(sorted(orphans))


def _bound_before(record: Record, around: Surroundings) -> str:
    rotation = Rotation(record, around.stores.journal, around.clock, lambda _device, _step: None)
    return rotation.written(Step.PREFLIGHT, Facts).bound


def _is_of_another(device: str, label: str, journal: Journal) -> bool:
    """Whether another device still has a use for it: one that was given up is kept if that one would go back to it."""
    record = journal.find(label.rpartition("-")[2])
    if record is None or record.label != label or record.device == device:
        return False
    if record.state is not State.ABANDONED:
        return not record.cleaned
    others = [one for one in journal.history(record.device) if one.state is not State.ABANDONED and not one.cleaned]
    return any(_began_from(label, journal.entries(one.id)) for one in others)


def _began_from(label: str, entries: Sequence[Entry]) -> bool:
    bound = [str((entry.value or {}).get("bound", "")) for entry in entries if entry.step is Step.PREFLIGHT]
    return any(label in one for one in bound)


def _open_rotations(device: str, around: Surroundings) -> Sequence[Record]:
    records = around.stores.journal.open_rotations(device)
    if not records:
        raise RotationError(f"{device} has no open rotation", hint=f"`ottr history {device}` shows what there was")
    return records


def find_installed(device: str, journal: Journal) -> Record:
    """The rotation whose certificate is on the device: the open one if it got that far, else the newest.

    Raises RotationError when there is none.
    """
    for record in reversed(journal.history(device)):
        if record.state is State.ROTATED or (record.state is State.OPEN and half_installed(journal, record)):
            return record
    raise RotationError(
        f"{device} has no rotation to go back from", hint=f"`ottr history {device}` shows what there was"
    )


def _bind_former(target: Target, around: Surroundings, record: Record) -> Facts:
    rotation = Rotation(record, around.stores.journal, around.clock, lambda _device, _step: None)
    before = rotation.written(Step.PREFLIGHT, Facts)
    sessions = Sessions(partial(around.connect, target), around.wait)
    try:
        with sessions() as driver:
            rotation.roll_back(lambda: driver.rollback(rotation.request, before))
    finally:
        sessions.close()
    return before


def _seen_back(target: Target, around: Surroundings, record: Record, before: Facts) -> RotationResult:
    """The former certificate is served again, seen from outside, and is the current one from now on."""
    result = RotationResult(
        target.device.name, Outcome.ROLLED_BACK, rotation_id=record.id, step=Step.ROLLBACK.value, reason="asked"
    )
    if not before.leaf_pem:
        return warned(result, "there was no certificate before; look at what the device serves now")
    leaf = x509.parse_certificate(before.leaf_pem)
    probe = around.authorities[target.route.issuer].probe
    problem = probe.await_served(target.route.endpoints, leaf, target.route.verify_timeout_s)
    if problem:
        return warned(result, f"the former certificate is bound again, but {problem}")
    result = replace(result, new_sha256=leaf.sha256, serial=leaf.serial, not_after=leaf.not_after)
    if leaf.self_signed:
        return warned(result, "the former certificate is self-signed: the next run rotates the device again")
    # of unknown CA where it was not ours: the policy then judges it by the name of its issuer
    around.stores.certificates.adopt(target.device.name, "", before.leaf_pem, around.clock())
    return warned(result, around.recorder.record(target.device, leaf))


def _take_away(target: Target, around: Surroundings, record: Record) -> tuple[str, ...]:
    """Return warnings. Raises DeviceUnreachable only while the device may be using what is to go."""
    journal, device = around.stores.journal, target.device.name
    warnings: tuple[str, ...] = ()
    if half_installed(journal, record):
        before = _bind_former(target, around, record)
        warnings = _seen_back(target, around, record, before).warnings
    try:
        with around.connect(target) as driver:
            driver.cleanup(frozenset({record.label}))
        cleaned = True
    except DeviceUnreachable as error:
        warnings += (f"its objects stay on the device: {error}; `ottr cleanup {device}` removes them",)
        cleaned = False
    journal.update(record, state=State.ABANDONED, cleaned=cleaned, finished_at=around.clock())
    return warnings
