# SPDX-License-Identifier: Apache-2.0
"""What one run does with one device: take the lease, go on or begin, rotate, and put the end in order."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

from ottr import x509
from ottr.acme import IssueRequest
from ottr.errors import (
    DeviceLeased,
    DeviceUnreachable,
    JournalError,
    KeyLost,
    LeaseLost,
    NotActive,
    OttrError,
    RateLimited,
    RollbackFailed,
    is_retryable,
)
from ottr.model import IssuedCertificate, Outcome, RotationResult, Step
from ottr.orchestrator import aftermath, pipeline
from ottr.orchestrator.rotation import Rotation, Watcher, report
from ottr.orchestrator.sessions import Sessions
from ottr.orchestrator.target import HA_STANDBY, Decide, Surroundings, Target, leased
from ottr.policy import Decision, Known, Reason, changed, renewal_time
from ottr.state.journal import Entry, Record, State, Status

log = logging.getLogger(__name__)

NAMES_WAIT_S = 600.0
_SATISFIED_BY_DEVICE = frozenset(
    {
        Reason.NEVER_ISSUED,
        Reason.LIFETIME_FRACTION,
        Reason.NAMES_CHANGED,
        Reason.ISSUER_CHANGED,
        Reason.KEY_TYPE_CHANGED,
    }
)


def run(
    target: Target, around: Surroundings, decide: Decide, watch: Watcher, until: Step = Step.RECORD
) -> RotationResult:
    """Rotate one device if it is due, as far as a step. Whatever is wrong with it is a result; only JournalError is
    raised."""
    route = target.route
    blank = RotationResult(
        target.device.name, Outcome.FAILED, driver=route.driver, issuer=route.issuer, started=around.clock()
    )
    try:
        with leased(target, around.stores.leases):
            result = _run_leased(target, around, decide, watch, until, blank)
    except DeviceLeased as error:
        result = replace(blank, outcome=Outcome.SKIPPED, reason="leased", error=error.report)
    except JournalError:
        raise
    except Exception as error:  # a bug around the rotation: the other devices go on
        log.exception("%s: unexpected", target.device.name)
        result = replace(blank, error=report(error))
    return replace(result, finished=around.clock())


def _run_leased(
    target: Target, around: Surroundings, decide: Decide, watch: Watcher, until: Step, blank: RotationResult
) -> RotationResult:
    decision = decide(target)
    blank = replace(blank, reason=decision.reason.value)
    if not decision.due:
        return replace(blank, outcome=Outcome.NOT_DUE)
    try:
        around.hooks.before(target)
    except OttrError as error:
        result = replace(blank, error=error.report)
    else:
        try:
            result = _run_rotation(target, around, decision, watch, until, blank)
        except LeaseLost:  # the new owner has commands of its own before and after
            raise
        except Exception as error:
            around.hooks.after(target, replace(blank, error=report(error)))  # what was drained is not left so
            raise
    return aftermath.warned(result, around.hooks.after(target, result))


def _run_rotation(
    target: Target, around: Surroundings, decision: Decision, watch: Watcher, until: Step, blank: RotationResult
) -> RotationResult:
    aftermath.remove_leftover_records(target, around)
    rotation = Rotation(_open_or_begin(target, around, decision), around.stores.journal, around.clock, watch)
    blank = replace(blank, rotation_id=rotation.record.id)
    sessions = Sessions(partial(around.connect, target), around.wait)
    try:
        outcome = pipeline.rotate(
            target.route,
            rotation,
            sessions=sessions,
            issue=partial(_issue, target, around),
            probe=around.authorities[target.route.issuer].probe,
            due=partial(_still_due, target, around, decision),
            until=until,
        )
        if outcome is Outcome.HELD:
            rotation.flush()
            return replace(blank, outcome=outcome, step=until.value, warnings=rotation.warnings)
        if outcome is Outcome.NOT_DUE:
            _abandon(around, rotation, cleaned=True)
            return replace(blank, outcome=outcome, reason=Reason.NOT_DUE.value, step=rotation.reached)
        return aftermath.rotated(target, around, rotation, sessions, blank)
    except (DeviceLeased, JournalError):
        raise
    except Exception as error:  # whatever it is: a device's trouble stays with the device
        return _failed(target, around, rotation, error, blank)
    finally:
        sessions.close()


def _open_or_begin(target: Target, around: Surroundings, decision: Decision) -> Record:
    """Go on with the open rotation where it still is what is wanted; else give it up and begin."""
    for record in around.stores.journal.open_rotations(target.device.name):
        reason = _why_not_go_on(target, around, record)
        if reason is None:
            return record
        log.info("%s: rotation %s is abandoned: %s", target.device.name, record.id, reason)
        around.stores.journal.update(record, state=State.ABANDONED, finished_at=around.clock())
    return around.stores.journal.begin(target.device, target.route, decision.reason.value)


def _why_not_go_on(target: Target, around: Surroundings, record: Record) -> str | None:
    route = target.route
    wanted = (target.device.dns_names, route.key_type, route.issuer, route.driver)
    if (record.dns_names, record.key_type, record.issuer, record.driver) != wanted:
        return "names, key type, issuer or driver have changed"
    entries = around.stores.journal.entries(record.id)
    tries = sum(map(_blames_certificate, entries))
    if tries >= around.settings.retry_install:
        return f"its certificate was rolled back {tries} times"
    for facts in around.stores.certificates.of_device(target.device.name):
        if facts.rotation_id == record.id and renewal_time(facts.known, route, around.settings) <= around.clock():
            return "its certificate has passed its own renewal time"
    return None


def _blames_certificate(entry: Entry) -> bool:
    """A device that is busy or down says nothing about the certificate: another one would fare no better."""
    failed = entry.status is Status.FAILED and entry.step in (Step.INSTALL, Step.VERIFY)
    return failed and not (entry.error and is_retryable(entry.error.kind))


def _issue(target: Target, around: Surroundings, request: IssueRequest, rotation: Rotation) -> IssuedCertificate:
    """Never two open orders for one set of names: a CA that reuses orders would hand one to both."""
    key = f"names:{target.route.issuer}:{','.join(sorted(request.dns_names))}"
    with around.stores.leases.awaited(key, NAMES_WAIT_S, around.wait):
        return around.authorities[target.route.issuer].issuer.issue(request, rotation)


def _still_due(target: Target, around: Surroundings, decision: Decision, leaf_pem: str) -> bool:
    """Under the lease, with the device's own certificate: perhaps somebody else has rotated it already."""
    if decision.reason not in _SATISFIED_BY_DEVICE or not leaf_pem:
        return True
    authority = around.authorities[target.route.issuer]
    leaf = x509.parse_certificate(leaf_pem)
    known = Known.of(leaf)
    if known.self_signed or changed(target.device, target.route, known, authority.issuer_names) is not None:
        return True
    if renewal_time(known, target.route, around.settings) <= around.clock():
        return True
    if not all(authority.probe.serves(endpoint, leaf) for endpoint in target.route.endpoints):
        return True
    around.stores.certificates.adopt(target.device.name, target.route.issuer, leaf_pem, around.clock())
    return False


def _abandon(around: Surroundings, rotation: Rotation, *, cleaned: bool) -> None:
    """Give it up; ``cleaned``: nothing of it is on the device."""
    around.stores.journal.update(rotation.record, state=State.ABANDONED, cleaned=cleaned, finished_at=around.clock())


def _failed(
    target: Target, around: Surroundings, rotation: Rotation, error: Exception, blank: RotationResult
) -> RotationResult:
    """Remember what the next run must know, and say how the device came out."""
    name = target.device.name
    if not isinstance(error, OttrError):
        log.error("%s: unexpected", name, exc_info=error)
    try:
        rotation.leave(error)
    except LeaseLost as lost:
        log.warning("%s: %s; before that: %s", name, lost, report(error).message)
        if not isinstance(error, RollbackFailed):  # else a human is needed, whoever has the device now
            raise
    if isinstance(error, NotActive):
        _abandon(around, rotation, cleaned=not rotation.has_key)
        return replace(blank, outcome=Outcome.SKIPPED, reason=HA_STANDBY, step=rotation.reached, error=report(error))
    if isinstance(error, KeyLost):
        around.stores.journal.update(rotation.record, state=State.ABANDONED, finished_at=around.clock())
    if isinstance(error, RateLimited):
        around.stores.schedules.defer(name, error.retry_at or around.clock())
    elif not (isinstance(error, OttrError) and error.retryable):
        around.stores.schedules.failed(name, report(error), around.settings.quarantine_after)
    return replace(blank, outcome=_outcome(error, rotation), step=rotation.reached, error=report(error))


def _outcome(error: Exception, rotation: Rotation) -> Outcome:
    if isinstance(error, RollbackFailed):
        return Outcome.STRANDED
    if rotation.rolled_back:
        return Outcome.ROLLED_BACK
    if isinstance(error, RateLimited):
        return Outcome.DEFERRED
    if isinstance(error, DeviceUnreachable):
        return Outcome.UNREACHABLE
    return Outcome.FAILED
