# SPDX-License-Identifier: Apache-2.0
"""HA groups of a play: one member at a time, and the next one only after the one before has ended well."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable

from ottr.model import Device, Outcome, RotationResult, Step
from ottr.orchestrator.runner import is_well


class Peers:
    """Remembers, for one play, who of each group is not well. Safe to share among threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[str, threading.Lock] = defaultdict(threading.Lock)
        self._unwell: dict[str, tuple[str, str]] = {}

    def take_turn(self, device: Device, act: Callable[[], RotationResult]) -> RotationResult:
        """Act when no other member is at work; skipped when another one has failed, or is held half way."""
        group = device.ha_group
        if not group:
            return act()
        with self._guard:
            turn = self._turns[group]
        with turn:
            name, reason = self._unwell.get(group, (device.name, ""))
            if name != device.name:
                return RotationResult(device.name, Outcome.SKIPPED, reason=reason)
            result = act()
            self._remember(group, result)
            return result

    def _remember(self, group: str, result: RotationResult) -> None:
        if result.outcome is Outcome.HELD and result.step == Step.INSTALL:
            self._unwell[group] = (result.device, "ha_peer_held")
        elif is_well(result) or result.outcome is Outcome.HELD:
            self._unwell.pop(group, None)
        else:
            self._unwell[group] = (result.device, "ha_peer_failed")
