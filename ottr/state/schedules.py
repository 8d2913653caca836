# SPDX-License-Identifier: Apache-2.0
"""When a device may be tried again, and when its CA would like it to be: kept across runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ottr.model import Clock, ErrorReport
from ottr.state.database import Database, upsert
from ottr.state.schema import schedule
from ottr.statement import Statement

_THIS = schedule.c.device == sa.bindparam("this")
_ALL = Statement(sa.select(schedule))
_OF_DEVICE = Statement(sa.select(schedule).where(_THIS))
_FORGET = Statement(schedule.delete().where(_THIS))

BACK_OFF = (timedelta(minutes=1), timedelta(minutes=10), timedelta(minutes=100), timedelta(days=1))
"""Waits after the first, second, ... permanent failure in a row; the last one repeats."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The memory of one device between runs."""

    device: str
    failures: int = 0
    """Permanent failures in a row."""
    failure_kind: str = ""
    failure: str = ""
    quarantined_at: datetime | None = None
    not_before: datetime | None = None
    """No run tries before."""
    renewal_sha256: str = ""
    renewal_start: datetime | None = None
    renewal_end: datetime | None = None
    renewal_at: datetime | None = None
    """The instant chosen in the CA's window, once (RFC 9773 section 4.2)."""
    renewal_check_at: datetime | None = None


class Schedules:
    """The table ``schedule``."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def load(self, device: str | None = None) -> Mapping[str, Schedule]:
        """What is kept, by device; of one device or of all."""
        with self._database.read() as connection:
            rows = (
                _ALL.fetch_named(connection, {})
                if device is None
                else _OF_DEVICE.fetch_named(connection, {"this": device})
            )
            return {row["device"]: _schedule(row) for row in rows}

    def find(self, device: str) -> Schedule:
        """What is kept of one device."""
        return self.load(device).get(device, Schedule(device))

    def failed(self, device: str, error: ErrorReport, quarantine_after: int) -> None:
        """Count a permanent failure: back off, and stop trying after so many in a row."""
        now = self._clock()
        failures = self.find(device).failures + 1
        values: dict[str, Any] = {
            "failures": failures,
            "failure_kind": error.kind,
            "failure": error.message,
            "not_before": now + BACK_OFF[min(failures, len(BACK_OFF)) - 1],
        }
        if failures >= quarantine_after:
            values["quarantined_at"] = now
        self._put(device, values)

    def defer(self, device: str, until: datetime) -> None:
        """The CA named a time before which it does not want to be asked."""
        self._put(device, {"not_before": until})

    def release(self, device: str) -> None:
        """Let the next run try again at once."""
        values = {"failures": 0, "failure_kind": "", "failure": "", "quarantined_at": None, "not_before": None}
        self._put(device, values)

    def keep_window(self, window: Schedule) -> None:
        """Keep the CA's suggested window and the instant chosen in it."""
        names = ("renewal_sha256", "renewal_start", "renewal_end", "renewal_at", "renewal_check_at")
        self._put(window.device, {name: getattr(window, name) for name in names})

    def _put(self, device: str, values: dict[str, Any]) -> None:
        none = {"failures": 0, "failure_kind": "", "failure": ""}
        with self._database.write() as connection:
            upsert(connection, schedule, {"device": device}, values, none)


def forget(connection: sa.Connection, device: str) -> None:
    """After a success: no failures, and no window of the certificate that is gone."""
    _FORGET.change(connection, {"this": device})


def _schedule(row: dict[str, Any]) -> Schedule:
    row["renewal_sha256"] = row["renewal_sha256"] or ""
    return Schedule(**row)
