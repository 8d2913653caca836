# SPDX-License-Identifier: Apache-2.0
"""The clause of company: one process rotates many devices at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from ottr.testing.trial import Rotation, Trial, expect

_PATIENCE_S = 60.0


def two_devices_do_not_disturb_each_other(trial: Trial) -> None:
    """Two rotations in two threads, step by step side by side, end as each would alone."""
    with trial.bench.start() as other, ThreadPoolExecutor(2) as pool:
        both, together = (trial, other), threading.Barrier(2, timeout=_PATIENCE_S)
        started = [pool.submit(_rotate, one, together) for one in both]
        for error in filter(None, [future.exception() for future in started]):
            if not isinstance(error, threading.BrokenBarrierError):  # which only says that the other one has failed
                raise error
        rotations = [future.result() for future in started]
        for one, rotation, other_one in zip(both, rotations, reversed(rotations), strict=True):
            name, labels = one.subject.access.device.name, one.subject.labels()
            expect(one.served() == rotation.sha256, f"{name} does not serve the certificate of its own rotation")
            expect(rotation.request.label in labels, f"{name} does not have the key of its own rotation")
            expect(other_one.request.label not in labels, f"{name} has the key of another device's rotation")


def _rotate(trial: Trial, together: threading.Barrier) -> Rotation:
    """Rotate in one session, no step before the other device's session has come as far."""
    try:
        stale, request = trial.ask(), trial.ask()
        with trial.connect() as session:
            together.wait()
            before = session.inspect()
            session.create_csr(stale)
            together.wait()
            issued = trial.sign(session.create_csr(request))
            together.wait()
            session.install(request, issued)
            together.wait()
            session.cleanup(frozenset({stale.label}))
            together.wait()
    except BaseException:
        together.abort()
        raise
    return Rotation(request, issued, before)
