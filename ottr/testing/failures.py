# SPDX-License-Identifier: Apache-2.0
"""The clauses of failures: what goes wrong becomes the right error, and who is not the device is refused."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ottr.errors import DeviceUnreachable, HostKeyRefused
from ottr.testing.stand import Fault, do_nothing
from ottr.testing.trial import ClauseBroken, Trial, expect


def faults_become_errors_with_a_hint(trial: Trial) -> None:
    """Each fault of the stand, and a lost connection, become an error of the right class, which has a hint."""
    for fault in list_faults(trial):
        error = provoke(trial, fault)
        wanted = fault.error.__name__
        if error is None:
            raise ClauseBroken(f"{fault.name}: nothing was raised, it should have been {wanted}")
        if not isinstance(error, fault.error):
            raise ClauseBroken(f"{fault.name}: {error!r} was raised, it should have been {wanted}")
        expect(error.hint, f"{fault.name}: {error!r} has no hint")


def strangers_are_refused(trial: Trial) -> None:
    """A device that does not show who it is said to be is refused by HostKeyRefused, and asked nothing."""
    trial.rotate()
    expect(trial.subject.strangers, "the stand names no stranger")
    for name, access in trial.subject.strangers.items():
        sent = len(trial.subject.line.requests())
        try:
            with trial.connect(access) as session:
                session.inspect()
        except HostKeyRefused as error:
            expect(error.hint, f"{name}: HostKeyRefused has no hint")
        else:
            raise ClauseBroken(f"{name}: it was let in")
        expect(len(trial.subject.line.requests()) == sent, f"{name}: something was sent before it was refused")


def list_faults(trial: Trial) -> Iterator[Fault]:
    """The stand's, and a connection that is lost at once, or half-way."""
    line = trial.subject.line
    before = len(line.requests())
    trial.rotate()
    half = (len(line.requests()) - before) // 2
    for name, number in (
        ("the connection is lost at the first request", 1),
        ("the connection is lost half-way", half or 1),
    ):
        yield Fault(name, DeviceUnreachable, partial(line.cut_before, number), line.mend)
    yield from trial.subject.faults


def provoke(trial: Trial, fault: Fault) -> Exception | None:
    """Try a rotation with a fault; return what was raised, whatever it is."""
    first, later = (do_nothing, fault.begin) if fault.at_install else (fault.begin, do_nothing)
    request = trial.ask()
    first()
    try:
        with trial.connect(fault.access) as session:
            session.inspect()
            issued = trial.sign(session.create_csr(request))
            later()
            session.install(request, issued)
    except Exception as error:
        return error
    finally:
        fault.end()
        trial.subject.settle()
    return None
