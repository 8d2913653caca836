# SPDX-License-Identifier: Apache-2.0
"""What follows a verified rotation, and what a dead run has left. Nothing here can undo a rotation."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ottr import x509
from ottr.errors import DeviceLeased, JournalError, OttrError
from ottr.model import Facts, IssuedCertificate, Outcome, RotationResult, Step
from ottr.orchestrator.rotation import Rotation
from ottr.orchestrator.sessions import Sessions
from ottr.orchestrator.target import Surroundings, Target
from ottr.state.certificates import CertificateFacts
from ottr.state.journal import Record, State, cleaning
from ottr.state.schedules import forget

log = logging.getLogger(__name__)

SUPERSEDED = 4
"""Reason code of RFC 5280 section 5.3.1."""


def rotated(
    target: Target, around: Surroundings, rotation: Rotation, sessions: Sessions, blank: RotationResult
) -> RotationResult:
    """Write the certificate into the inventory, drop what is two generations old, end the rotation."""
    device = target.device.name
    before = rotation.written(Step.PREFLIGHT, Facts)
    issued = rotation.written(Step.ORDER, IssuedCertificate)
    leaf = x509.parse_certificate(issued.leaf_pem)
    old = x509.find_certificate(before.leaf_pem)
    result = replace(
        blank,
        outcome=Outcome.ROTATED,
        step=Step.RECORD.value,
        old_sha256=old.sha256 if old else "",
        new_sha256=leaf.sha256,
        serial=leaf.serial,
        not_after=leaf.not_after,
        warnings=rotation.warnings,
    )
    steps: list[Callable[[], str]] = [
        lambda: around.recorder.record(target.device, leaf),
        lambda: _clean_up(target, around, rotation, sessions),
    ]
    if target.route.revoke_superseded:
        steps += [partial(_revoke, around, facts) for facts in _superseded(device, around)]
    for step in steps:
        result = warned(result, _attempt(device, step))
    rotation.note(lambda connection: forget(connection, device))
    sessions.close()  # while the rotation is open, a session that dies here is ended by whoever goes on
    rotation.close()
    return result


def remove_leftover_records(target: Target, around: Surroundings) -> None:
    """Take away the TXT values that a dead run has left for this device."""
    for rotation_id, record in around.stores.journal.leftover_records(target.device.name):
        try:
            around.publisher.cleanup(record)
        except JournalError:
            raise
        except Exception as error:  # a bug of a provider's library, too, must not keep the device from its rotation
            log.warning("%s: a TXT value at %s is left over: %s", target.device.name, record.name, error)
        else:
            around.stores.journal.removed(rotation_id, record)


def warned(result: RotationResult, warning: str) -> RotationResult:
    """Add a warning, if it is one."""
    return replace(result, warnings=(*result.warnings, warning)) if warning else result


def superseded(records: list[Record], current: str, before: str = "") -> list[Record]:
    """Ended rotations whose objects may go: all but the one the current one would go back to.

    ``before`` is what was bound before the current one (``Facts.bound``). Where that was no rotation of ours, the
    newest one that was served stays.
    """
    ended = [record for record in records if record.id != current]
    former = [record for record in ended if record.label in before]
    kept = former or [record for record in ended if record.state is State.ROTATED][-1:]
    return [record for record in ended if record not in kept]


def _attempt(device: str, step: Callable[[], str]) -> str:
    """A verified device is rotated whatever goes wrong now: it becomes a warning, a plain bug too."""
    try:
        return step()
    except (JournalError, DeviceLeased):
        raise
    except Exception as error:
        log.exception("%s: unexpected", device)
        return f"unexpected {type(error).__name__} after the rotation; see the log"


def _clean_up(target: Target, around: Surroundings, rotation: Rotation, sessions: Sessions) -> str:
    ended, before = around.stores.journal.uncleaned(target.device.name), rotation.written(Step.PREFLIGHT, Facts)
    gone = superseded(list(ended), rotation.record.id, before.bound)
    if not gone:
        return ""
    try:
        with sessions() as driver:
            driver.cleanup(frozenset(record.label for record in gone))
    except (JournalError, DeviceLeased):
        raise
    except OttrError as error:
        return f"objects of older rotations are still on the device: {error}; the next rotation tries again"
    for record in gone:
        rotation.note(cleaning(record.id))
    return ""


def _superseded(device: str, around: Surroundings) -> list[CertificateFacts]:
    """What is to be revoked: the certificate before, and those before it that a CA refused to revoke at their time.

    Never one that was found on the device: nobody can tell who else serves it.
    """
    return [
        facts
        for facts in around.stores.certificates.of_device(device)
        if facts.superseded_at and not facts.revoked_at and facts.not_after > around.clock() and facts.rotation_id
    ]


def _revoke(around: Surroundings, facts: CertificateFacts) -> str:
    """At the CA that has issued it. Done again after a crash, it is done already."""
    found = around.stores.certificates.pem(facts.device, facts.sha256)
    if found is None:
        return ""
    others = [name for name in around.stores.certificates.serving(facts.sha256) if name != facts.device]
    if others:
        return f"the superseded certificate {facts.serial} is not revoked: {', '.join(others)} still has it"
    if facts.ca not in around.authorities:
        return f"the superseded certificate {facts.serial} is not revoked: there is no issuer {facts.ca!r} any more"
    try:
        around.authorities[facts.ca].issuer.revoke(found.leaf_pem, SUPERSEDED)
    except OttrError as error:
        return f"the superseded certificate {facts.serial} is not revoked: {error}; the next rotation tries again"
    around.stores.certificates.mark_revoked(facts.device, facts.sha256, around.clock())
    return ""
