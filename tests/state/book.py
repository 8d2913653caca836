# SPDX-License-Identifier: Apache-2.0
"""A clock and the stores of one process, for tests of the state."""

from __future__ import annotations

import datetime as dt

from ottr.model import Device, KeyType, Route
from ottr.state.certificates import Certificates
from ottr.state.database import Database
from ottr.state.journal import Journal, Record, device_key
from ottr.state.leases import Leases, Owner
from ottr.state.schedules import Schedules

NOW = dt.datetime(2026, 1, 1, 12, 0, tzinfo=dt.UTC)
DEVICE = Device("web1", "linux", "192.0.2.1", ("web1.example.com", "www.example.com"))
ROUTE = Route("memory", "ca", key_type=KeyType.EC384)


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now

    def advance(self, **delta: float) -> None:
        self.now += dt.timedelta(**delta)


def elsewhere(token: str) -> Owner:
    """A process of another machine, which nobody here can look at."""
    return Owner(token, "another machine", 4711, "123", "host-" + token)


class Process:
    """What one orchestrator process has of the state."""

    def __init__(self, database: Database, clock: Clock, token: str = "a") -> None:
        self.database = database
        self.clock = clock
        self.leases = Leases(database, elsewhere(token), clock)
        self.journal = Journal(database, self.leases, clock)
        self.certificates = Certificates(database)
        self.schedules = Schedules(database, clock)

    def begin(self, device: Device = DEVICE, reason: str = "forced") -> Record:
        """A rotation under the lease of its device."""
        self.leases.take(device_key(device.name))
        return self.journal.begin(device, ROUTE, reason)
