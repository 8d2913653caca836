# SPDX-License-Identifier: Apache-2.0
"""Which devices are due, and exactly one reason code for every host: none ever vanishes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

from ottr import policy, windows
from ottr.inventory import InventoryHost
from ottr.inventory.device import Refusal, build_device
from ottr.model import Device, Route
from ottr.policy import Decision, Known, decide, urgency
from ottr.routing import Reason, Router
from ottr.settings import IssuerSettings, RotationSettings
from ottr.state.view import StateView


@dataclass(frozen=True, slots=True)
class Candidate:
    """One host of the inventory and what the selection makes of it."""

    host: InventoryHost
    device: Device | None = None
    route: Route | None = None
    decision: Decision | None = None
    """None: the host cannot be rotated as things stand; ``reason`` and ``message`` say why."""
    reason: str = ""
    message: str = ""
    known: Known | None = None

    @property
    def due(self) -> bool:
        """Whether a run would rotate it now."""
        return self.decision is not None and self.decision.due


class Selector:
    """Applies routes and policy to hosts. Connects to nothing."""

    def __init__(self, router: Router, issuers: Mapping[str, IssuerSettings], settings: RotationSettings) -> None:
        self._router = router
        self._issuers = issuers
        self._settings = settings

    def select(
        self, hosts: Iterable[InventoryHost], view: StateView, now: datetime, *, forced: bool = False
    ) -> list[Candidate]:
        """Judge every host, in the inventory's order."""
        return [self._judge(host, view, now, forced=forced) for host in hosts]

    def decide(self, device: Device, route: Route, view: StateView, now: datetime, *, forced: bool = False) -> Decision:
        """Judge one device whose route is known: asked again under its lease."""
        freezes = self._settings.freezes
        is_open = not (route.windows or freezes) or windows.is_open(route.windows, freezes, now)
        situation = view.situation(
            device.name,
            forced=forced,
            window_open=is_open,
            window_opens=None if is_open else windows.next_opening(route.windows, freezes, now),
        )
        return decide(device, route, situation, now, self._settings, self._issuers[route.issuer].issuer_names)

    def _judge(self, host: InventoryHost, view: StateView, now: datetime, *, forced: bool) -> Candidate:
        device = build_device(host)
        if isinstance(device, Refusal):
            return Candidate(host, reason=device.reason, message=_say(device))
        route = self._router.route(device)
        if isinstance(route, Reason):
            return Candidate(host, device, reason=route.code, message=route.message)
        facts = view.certificates.get(device.name)
        known = facts.known if facts else None
        decision = self.decide(device, route, view, now, forced=forced)
        return Candidate(host, device, route, decision, decision.reason.value, "", known)


def take_up(candidate: Candidate, open_ones: Set[str]) -> Candidate:
    """Due when its rotation is open, and for no other reason; whatever back-off and windows say."""
    if candidate.decision is None:
        return candidate
    decision = decide_open(is_open=candidate.host.name in open_ones)
    return replace(candidate, decision=decision, reason=decision.reason.value)


def decide_open(*, is_open: bool) -> Decision:
    """Whether there is a rotation to go on with."""
    return Decision(due=is_open, reason=policy.Reason.UNFINISHED if is_open else policy.Reason.NOT_DUE)


def queue(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that are due, the most urgent first."""
    due = [(candidate.decision, candidate) for candidate in candidates if candidate.due]
    return [candidate for decision, candidate in sorted(due, key=_urgency) if decision is not None]


def _say(refusal: Refusal) -> str:
    return f"{refusal.detail} ({refusal.hint})" if refusal.hint else refusal.detail


def _urgency(pair: tuple[Decision | None, Candidate]) -> tuple[int, float]:
    decision, candidate = pair
    return (9, 0.0) if decision is None else urgency(decision, candidate.known)
