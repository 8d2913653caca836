# SPDX-License-Identifier: Apache-2.0
"""This unit and its device group: who is active, is everything in sync, and giving our changes to the others."""

from __future__ import annotations

import logging
import re

from ottr.drivers.f5.client import Client
from ottr.drivers.f5.options import Options
from ottr.drivers.f5.patience import Patience
from ottr.errors import DeviceBusy, NotActive

_log = logging.getLogger(__name__)

_SETTLED = ("in sync", "standalone")
_SOURCE = re.compile(r"[Ss]ynchronize (\S+) to ")


class Group:
    """Saves, and syncs where the route names a group."""

    def __init__(self, client: Client, patience: Patience, options: Options) -> None:
        self._client = client
        self._patience = patience
        self._group = options.device_group

    def check_ready(self) -> None:
        """Raise NotActive unless this unit's configuration counts, DeviceBusy where the other one has changes too.

        Changes of this unit alone, such as the key of another rotation, stand in nobody's way.
        """
        self._check_active()
        if self._group:
            self._check_others(*self._client.fetch_sync_status())

    def _check_active(self) -> None:
        _, state = self._client.fetch_unit()
        if state not in ("", "active"):
            raise NotActive(f"{self._client.name} is {state} in its device group")

    def settle(self, *, changed: bool) -> None:
        """Save, and give what was changed to the group. Raises DeviceBusy while the group does not take it."""
        self._client.save()
        status, details = self._client.fetch_sync_status()
        # Just after a change the status may still be the former one.
        if status.lower() in _SETTLED and not (changed and self._group and status.lower() != "standalone"):
            return
        if not self._group:
            _log.warning("%s is not in sync with its group: %s", self._client.name, _join(status, details))
            return
        self._sync(status, details)

    def settle_quietly(self, *, changed: bool) -> None:
        """The same on the way back, where this unit counts and the others may wait."""
        try:
            self.settle(changed=changed)
        except DeviceBusy as error:
            _log.warning("%s", error)

    def _sync(self, status: str, details: str) -> None:
        self._check_others(status, details)
        self._client.sync(self._group)
        seen: list[str] = []

        def is_settled() -> bool:
            found, more = self._client.fetch_sync_status()
            seen[:] = [_join(found, more)]
            return found.lower() in _SETTLED

        if not self._patience.await_sync(is_settled):
            raise DeviceBusy(
                f"{self._client.name}: its group {self._group} is not in sync after a sync: {seen[0]}",
                hint="look at Device Management on the device: is the other unit there?",
            )

    def _check_others(self, status: str, details: str) -> None:
        """Raise DeviceBusy where the device sees changes elsewhere, or would rather sync from another unit."""
        named: set[str] = {name.rpartition("/")[2] for name in _SOURCE.findall(details)}
        elsewhere = bool(named) and not named & self._client.fetch_active_units()
        if elsewhere or "conflict" in details.lower():
            raise DeviceBusy(
                f"{self._client.name}: another unit has changes that a sync from here would undo: "
                f"{_join(status, details)}",
                hint="sync that unit to the group first; nothing of its was touched, and the next run goes on",
            )


def _join(status: str, details: str) -> str:
    return f"{status}: {details}"[:400] if details else status or "no status"
