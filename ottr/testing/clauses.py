# SPDX-License-Identifier: Apache-2.0
"""The clauses of the contract. Each is a function of a device that has just been started; its text says what it asks.

A clause raises ``ClauseBroken`` when the driver does not keep it. Any other error counts as broken too.
"""

from __future__ import annotations

from collections.abc import Callable

from ottr.drivers import Labelled, Preflight
from ottr.testing.cuts import cut_off_anywhere_it_comes_to_the_same_end
from ottr.testing.failures import faults_become_errors_with_a_hint, strangers_are_refused
from ottr.testing.leaks import keys_stay_on_the_device, secrets_stay_secret
from ottr.testing.pairs import two_devices_do_not_disturb_each_other
from ottr.testing.trial import Trial, expect
from ottr.x509 import parse_request

Clause = Callable[[Trial], None]


def csr_is_what_was_asked_for(trial: Trial) -> None:
    """create_csr returns a CSR with the names and the kind of key asked for, and the same one when asked again."""
    request = trial.ask()
    with trial.connect() as session:
        csr = session.create_csr(request)
    parsed = parse_request(csr.pem)
    expect(parsed.dns_names == request.dns_names, f"asked for {request.dns_names}, the CSR has {parsed.dns_names}")
    expect(parsed.key_type is request.key_type, f"asked for {request.key_type}, the CSR has {parsed.key_type}")
    with trial.connect() as session:
        again = session.create_csr(request)
    expect(again == csr, "asked again with the same label, another CSR comes back")


def install_twice_is_install_once(trial: Trial) -> None:
    """install of what is installed already changes nothing on the device."""
    rotation = trial.rotate()
    once = trial.look()
    trial.install(rotation)
    expect(trial.look() == once, "the second install has changed the state of the device")


def rollback_restores_what_was_served(trial: Trial) -> None:
    """rollback brings back what was served before; it is harmless when nothing was installed, or when done twice."""
    for _ in ("to what was there before Ottr", "to the former rotation"):
        _roll_back_and_forth(trial)


def _roll_back_and_forth(trial: Trial) -> None:
    request = trial.ask()
    with trial.connect() as session:
        before = session.inspect()
    untouched = trial.look()
    with trial.connect() as session:
        session.rollback(request, before)
    expect(trial.look() == untouched, "a rollback with nothing to roll back has changed the device")
    rotation = trial.prepare()
    prepared = trial.look()
    trial.roll_back(rotation)
    expect(trial.look() == prepared, "a rollback before the install has changed the device")
    trial.install(rotation)
    for times in ("", " twice"):
        trial.roll_back(rotation)
        expect(trial.served() == untouched[0], f"rolled back{times}, the device does not serve what it did before")
    with trial.connect() as session:
        bound = session.inspect().leaf_pem
    expect(bound == before.leaf_pem, "rolled back, inspect does not show the former certificate")
    trial.install(rotation)


def cleanup_removes_only_what_it_is_told(trial: Trial) -> None:
    """cleanup removes the objects of the labels given, but nothing that is in use, and nothing else."""
    first, second, third = trial.rotate(), trial.rotate(), trial.rotate()
    waiting = trial.prepare()
    kept = {rotation.request.label for rotation in (second, third, waiting)}
    for labels in ((), (first.request.label, third.request.label, "ottr-never-was-there"), (first.request.label,)):
        trial.clean_up(*labels)
        served = trial.served()
        expect(served == third.sha256, "after cleanup the device does not serve what it did")
        there = set(trial.subject.labels())
        lost = kept - there
        expect(not lost, f"cleanup has removed what it was not told to, or what is in use: {', '.join(sorted(lost))}")
    expect(there == kept, f"cleanup has left something behind: {', '.join(sorted(there - kept))}")
    with trial.connect() as session:
        expect(not isinstance(session, Labelled) or session.labels() == kept, "labels() does not list what is there")


def looking_changes_nothing(trial: Trial) -> None:
    """inspect, check and labels, which is all that --check calls, leave the state of the device as it is."""
    for _ in range(2):
        before = trial.look()
        with trial.connect() as session:
            session.inspect()
            problems = session.check() if isinstance(session, Preflight) else ()
            if isinstance(session, Labelled):
                session.labels()
        expect(trial.look() == before, "looking has changed the state of the device")
        expect(not problems, f"check finds a problem with a device that can be rotated: {'; '.join(problems)}")
        trial.rotate()
        trial.prepare()
    expect(trial.look() != before, "the stand's state_hash is the same before and after a rotation")


CLAUSES: tuple[Clause, ...] = (
    keys_stay_on_the_device,
    csr_is_what_was_asked_for,
    install_twice_is_install_once,
    cut_off_anywhere_it_comes_to_the_same_end,
    rollback_restores_what_was_served,
    cleanup_removes_only_what_it_is_told,
    faults_become_errors_with_a_hint,
    secrets_stay_secret,
    strangers_are_refused,
    looking_changes_nothing,
    two_devices_do_not_disturb_each_other,
)
"""Every clause, in the order in which they are asked."""
