# SPDX-License-Identifier: Apache-2.0
"""How far an open rotation has come, for those who take its steps one by one."""

from __future__ import annotations

from dataclasses import dataclass

from ottr.model import IssuedCertificate, SigningRequest, Step
from ottr.state.journal import Journal, Status
from ottr.state.view import is_installed


@dataclass(frozen=True, slots=True)
class Held:
    """What the journal has of an open rotation: which steps are done, and what they left behind."""

    rotation_id: str
    done: frozenset[Step] = frozenset()
    """Without an install that was rolled back."""
    csr: SigningRequest | None = None
    issued: IssuedCertificate | None = None


def find_held(device: str, journal: Journal) -> Held | None:
    """What the open rotation of a device has come to; None without one."""
    for record in journal.open_rotations(device):
        entries = journal.entries(record.id)
        done = [entry for entry in entries if entry.status is Status.DONE]
        values = {entry.step: entry.value for entry in done if entry.value is not None}
        undone = frozenset() if is_installed(entries) else frozenset({Step.INSTALL, Step.VERIFY})
        return Held(
            record.id,
            frozenset(entry.step for entry in done) - undone,
            SigningRequest(**values[Step.CSR]) if Step.CSR in values else None,
            IssuedCertificate(**values[Step.ORDER]) if Step.ORDER in values else None,
        )
    return None
