# SPDX-License-Identifier: Apache-2.0
"""What the policy asks of the state, for one device or for all, in a handful of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ottr.model import Step
from ottr.policy import Situation
from ottr.state.certificates import CertificateFacts, Certificates, Observation
from ottr.state.journal import Entry, Journal, Record, Status
from ottr.state.schedules import Schedule, Schedules


@dataclass(frozen=True, slots=True)
class StateView:
    """The state at one moment."""

    certificates: Mapping[str, CertificateFacts]
    schedules: Mapping[str, Schedule]
    open_rotations: Mapping[str, Record]
    observations: Mapping[str, Sequence[Observation]]
    half_installed: frozenset[str] = frozenset()
    """Devices whose rotation was stopped between bind and verify."""

    def situation(
        self, device: str, *, forced: bool, window_open: bool = True, window_opens: datetime | None = None
    ) -> Situation:
        """What is known of one device."""
        facts = self.certificates.get(device)
        schedule = self.schedules.get(device, Schedule(device))
        asked = facts is not None and schedule.renewal_sha256 == facts.sha256
        return Situation(
            known=facts.known if facts else None,
            served_sha256=self._served(device, facts),
            unfinished=device in self.open_rotations,
            half_installed=device in self.half_installed,
            forced=forced,
            quarantined=schedule.quarantined_at is not None,
            not_before=schedule.not_before,
            renewal_at=schedule.renewal_at if asked else None,
            window_open=window_open,
            window_opens=window_opens,
        )

    def _served(self, device: str, facts: CertificateFacts | None) -> str | None:
        """The first thing seen that is not the known certificate, else that certificate, else None.

        What was seen before that certificate was served says nothing.
        """
        since = facts.served_at if facts else None
        seen = [
            one.sha256 for one in self.observations.get(device, ()) if one.sha256 and (since is None or one.at >= since)
        ]
        others = [sha256 for sha256 in seen if facts is None or sha256 != facts.sha256]
        return next(iter(others or seen), None)


def load_view(
    journal: Journal, certificates: Certificates, schedules: Schedules, device: str | None = None
) -> StateView:
    """Read the state of one device or of all."""
    with journal.reading():
        return _load(journal, certificates, schedules, device)


def _load(journal: Journal, certificates: Certificates, schedules: Schedules, device: str | None) -> StateView:
    observations: dict[str, list[Observation]] = defaultdict(list)
    for one in certificates.observations(device):
        observations[one.device].append(one)
    open_rotations = journal.open_rotations(device)
    return StateView(
        certificates=certificates.current(device),
        schedules=schedules.load(device),
        open_rotations={record.device: record for record in open_rotations},
        observations=observations,
        half_installed=frozenset(record.device for record in open_rotations if half_installed(journal, record)),
    )


def is_installed(entries: Sequence[Entry]) -> bool:
    """Whether an install has ended well and was not taken back."""
    ends = [entry for entry in entries if entry.step in (Step.INSTALL, Step.ROLLBACK)]
    return bool(ends) and ends[-1].step is Step.INSTALL and ends[-1].status is Status.DONE


def half_installed(journal: Journal, record: Record) -> bool:
    """Whether an install was begun and not rolled back; verified or not, the rotation is to be ended."""
    for entry in reversed(journal.entries(record.id)):
        if entry.step is Step.INSTALL:
            return True
        if entry.step in (Step.VERIFY, Step.ROLLBACK) and entry.status is Status.DONE:
            return entry.step is Step.VERIFY
    return False
