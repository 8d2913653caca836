# SPDX-License-Identifier: Apache-2.0
"""What a host of a play may ask for, each one call of the service, answered in the words of ``ottr.report``."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from ottr.app import App, utc_now
from ottr.errors import SettingsError
from ottr.inventory.device import build_device
from ottr.inventory.given import GivenHost, GivenInventory
from ottr.model import Device, Outcome, RotationResult, Step
from ottr.notify import Event, EventKind, Notifier
from ottr.orchestrator.runner import Rollout, Stop
from ottr.play.certificates import describe_certificate
from ottr.play.peers import Peers
from ottr.report import describe_candidate, describe_result, describe_verification
from ottr.service import RotationService, Selection
from ottr.state.held import Held

_ONE = Rollout(forks=1)
_ALL = Selection()
_HELD_AFTER = {"csr": Step.CSR, "order": Step.ORDER, "install": Step.INSTALL}


@dataclass(frozen=True, slots=True)
class Asked:
    """One request of one host."""

    verb: str
    given: GivenHost
    check: bool = False
    force: bool = False

    @property
    def name(self) -> str:
        """Of the host."""
        return self.given.host.name


class Gathered:
    """Passes on what happens to a device at once, and one summary of all of them when the play is over."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._lock = threading.Lock()
        self._summaries: list[Event] = []

    def notify(self, event: Event) -> None:
        """See ``ottr.notify.Notifier``."""
        if event.kind is not EventKind.SUMMARY:
            self._notifier.notify(event)
            return
        with self._lock:
            self._summaries.append(event)

    def close(self) -> None:
        """Tell the summary, if anything was done."""
        if self._summaries:
            last = self._summaries[-1]
            results = tuple(result for event in self._summaries for result in event.results)
            self._notifier.notify(Event(EventKind.SUMMARY, last.at, last.run_id, results))


class Verbs:
    """Answers one host at a time, for many threads; every host has a service of its own over the same parts."""

    def __init__(self, app: App, stop: Stop) -> None:
        self._app = app
        self._stop = stop
        self._peers = Peers()
        self._lock = threading.Lock()
        self._verbs: Mapping[str, Callable[[RotationService, Asked], dict[str, Any]]] = {
            "plan": self._plan,
            "rotate": self._rotate,
            "csr": self._step,
            "order": self._step,
            "install": self._step,
            "verify": self._verify,
            "rollback": self._roll_back,
            "certificate_info": self._look_up,
        }

    def act(self, asked: Asked) -> dict[str, Any]:
        """Do it. Raises OttrError."""
        if asked.verb not in self._verbs:
            raise SettingsError(f"there is no verb {asked.verb!r}")
        with self._lock:
            gathered = self._gathered
            service = self._app.serve(GivenInventory([asked.given]), gathered)
            _ = self._app.authorities, self._app.publisher  # parts that threads share are made under the lock
        return self._verbs[asked.verb](service, asked)

    def close(self) -> None:
        """Tell what the play came to."""
        if "_gathered" in self.__dict__:
            self._gathered.close()

    @cached_property
    def _gathered(self) -> Gathered:
        return Gathered(self._app.notifier)

    def _plan(self, service: RotationService, asked: Asked) -> dict[str, Any]:
        [candidate] = service.plan(_ALL, forced=asked.force)
        return {"plan": describe_candidate(candidate)}

    def _rotate(self, service: RotationService, asked: Asked) -> dict[str, Any]:
        if asked.check:
            return _describe(_check(service, asked, self._stop))
        begin = partial(service.rotate, _ALL, _ONE, self._stop, forced=asked.force)
        return _describe(self._take_turn(asked, begin))

    def _step(self, service: RotationService, asked: Asked) -> dict[str, Any]:
        step, former = _HELD_AFTER[asked.verb], service.held(asked.name)
        if asked.check:
            result = _check_step(service, asked, step, former, self._stop)
            return {**_describe(result), **_describe_held(former), "changed": result.outcome is Outcome.PLANNED}
        if step is Step.CSR:
            begin = partial(service.rotate, _ALL, _ONE, self._stop, forced=asked.force, until=step)
        else:
            begin = partial(service.go_on, _ALL, _ONE, self._stop, until=step)
        result = self._take_turn(asked, begin)
        held = service.held(asked.name)
        return {**_describe(result), **_describe_held(held), "changed": _is_new(step, former, held)}

    def _verify(self, service: RotationService, asked: Asked) -> dict[str, Any]:
        """End what `install` has left open; then look at what is served."""
        answer: dict[str, Any] = {"rotation": None, "changed": False}
        held = service.held(asked.name)
        if held is not None and Step.INSTALL in held.done and not asked.check:
            result = self._take_turn(asked, partial(service.go_on, _ALL, _ONE, self._stop, until=Step.VERIFY))
            if result.outcome is not Outcome.NOT_DUE:  # else somebody else has just ended it
                answer = _describe(result)
            if result.outcome not in (Outcome.NOT_DUE, Outcome.ROTATED):
                return {**answer, "endpoints": []}
        seen = service.verify(_ALL, _ONE, self._stop, remember=not asked.check)
        return {**answer, "endpoints": [describe_verification(one) for one in seen]}

    def _roll_back(self, service: RotationService, asked: Asked) -> dict[str, Any]:
        if asked.check:
            record = service.find_rollback(asked.name)
            return _describe(RotationResult(asked.name, Outcome.PLANNED, reason="asked", rotation_id=record.id))
        return {**_describe(service.rollback(asked.name)), "changed": True}

    def _look_up(self, service: RotationService, asked: Asked) -> dict[str, Any]:
        del service
        return {"certificate": describe_certificate(self._app.stores.certificates, asked.name, utc_now())}

    def _take_turn(self, asked: Asked, begin: Callable[[], Iterable[RotationResult]]) -> RotationResult:
        def act() -> RotationResult:
            [result] = begin()
            return result

        device = build_device(asked.given.host)
        return self._peers.take_turn(device, act) if isinstance(device, Device) else act()


def _check(service: RotationService, asked: Asked, stop: Stop) -> RotationResult:
    selection = Selection(asked.name) if asked.force else _ALL
    [result] = service.check(selection, _ONE, stop)
    return result


def _check_step(service: RotationService, asked: Asked, step: Step, held: Held | None, stop: Stop) -> RotationResult:
    """What a step would do; a device is looked at only before there is anything of a rotation on it."""
    if held is None and step is Step.CSR:
        return _check(service, asked, stop)
    due = held is not None and step not in held.done
    outcome = Outcome.PLANNED if due else Outcome.NOT_DUE
    return RotationResult(asked.name, outcome, step=step.value, rotation_id=held.rotation_id if held else "")


def _is_new(step: Step, former: Held | None, held: Held | None) -> bool:
    """Whether the step was taken now, and not before."""
    if held is None or step not in held.done:
        return False
    return former is None or former.rotation_id != held.rotation_id or step not in former.done


def _describe(result: RotationResult) -> dict[str, Any]:
    return {"rotation": describe_result(result), "changed": result.outcome is Outcome.ROTATED}


def _describe_held(held: Held | None) -> dict[str, Any]:
    issued = held.issued if held else None
    return {
        "csr": held.csr.pem if held and held.csr else None,
        "certificate": issued.leaf_pem if issued else None,
        "chain": issued.chain_pem if issued else None,
        "full_chain": issued.fullchain_pem if issued else None,
    }
