# SPDX-License-Identifier: Apache-2.0
"""Every device the state database knows of, as plain JSON for Ansible's inventory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from ottr.app import App
from ottr.inventory import InventoryHost
from ottr.model import Step
from ottr.play.certificates import describe_facts
from ottr.state.journal import Journal, Record, State, Status

_ACTS = frozenset({Step.INSTALL, Step.VERIFY, Step.ROLLBACK})


def describe_devices(app: App, now: datetime) -> list[dict[str, Any]]:
    """Those of its inventory first, then those that rotations or certificates tell of."""
    stores = app.stores
    hosts = {host.name: host for host in app.devices.hosts()}
    certificates, rotations = stores.certificates.current(), stores.journal.latest()
    schedules = stores.schedules.load()
    found = []
    for name in dict.fromkeys((*hosts, *sorted({*certificates, *rotations}))):
        host, facts, record = hosts.get(name, InventoryHost(name)), certificates.get(name), rotations.get(name)
        schedule = schedules.get(name)
        found.append(
            {
                "name": name,
                "groups": sorted(host.groups - {"ungrouped"}),
                "variables": dict(host.variables),
                "certificate": describe_facts(facts, now) if facts else None,
                "driver": record.driver if record else None,
                "issuer": record.issuer if record else facts.ca if facts else None,
                "open": record is not None and record.state is State.OPEN,
                "stranded": record is not None and is_stranded(stores.journal, record),
                "quarantined": schedule is not None and schedule.quarantined_at is not None,
            }
        )
    return found


def is_stranded(journal: Journal, record: Record) -> bool:
    """Whether a rollback was the last that was done to the device, and failed: a human is needed.

    A later run that could not even log in has changed nothing about that.
    """
    if record.state is not State.OPEN:
        return False
    acts = [entry for entry in journal.entries(record.id) if entry.step in _ACTS]
    return bool(acts) and acts[-1].step is Step.ROLLBACK and acts[-1].status is Status.FAILED
