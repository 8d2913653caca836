# SPDX-License-Identifier: Apache-2.0
"""A run over many devices: watched, interruptible, with a recap at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from ottr.app import App
from ottr.cli import progress, recap, screen, signals
from ottr.cli.options import Form, Pace, Shared
from ottr.cli.progress import Running
from ottr.errors import JournalError, OttrError
from ottr.model import Outcome, RotationResult
from ottr.orchestrator.rotation import Watcher
from ottr.orchestrator.runner import Rollout, Stop
from ottr.report import STATE_LOST, ExitStatus, describe_run, exit_status

Begin = Callable[[Rollout, Stop, Watcher], Iterator[RotationResult]]
"""Calls the verb."""


def build_rollout(app: App, pace: Pace) -> Rollout:
    """How many at once: what was asked for, else what ottr.yaml says."""
    return Rollout(pace.forks or app.settings.rotation.forks, pace.sizes(), pace.max_fail_percentage)


@dataclass(slots=True)
class Run:
    """One run. ``total`` tells how many devices will be worked on; asked only where there is a bar to fill."""

    app: App
    shared: Shared
    pace: Pace
    total: Callable[[], int]
    diff: bool = False
    advise: bool = True
    results: list[RotationResult] = field(default_factory=list)
    _stop: Stop = field(default_factory=Stop)
    _running: Running = field(default_factory=Running)

    def follow(self, begin: Begin) -> ExitStatus:
        """Begin, show what happens, and the recap; return what it comes to."""
        rollout = build_rollout(self.app, self.pace)
        lost: OttrError | None = None
        total = self.total() if screen.is_terminal() and not self._json else 0
        with progress.shown(total, self._running, quiet=self._json) as display:

            def give_up() -> None:
                display.close()
                self._add_running()
                self._show()

            with signals.interruptible(self._stop, self._running.describe, give_up):
                try:
                    for result in begin(rollout, self._stop, self._running.watch):
                        self._take(result, display)
                except JournalError as error:
                    if not self._begun:
                        raise
                    lost = error
        self._show(lost)
        return self._status if lost is None else ExitStatus.UNEXPECTED

    @property
    def _json(self) -> bool:
        return self.shared.output is Form.JSON

    @property
    def _begun(self) -> bool:
        return any(not recap.is_idle(one) for one in self.results) or bool(self._running.steps())

    @property
    def _status(self) -> ExitStatus:
        limited = self._stop.reason not in ("", signals.INTERRUPTED, STATE_LOST)
        interrupted = self._stop.reason == signals.INTERRUPTED
        return exit_status(self.results, strict=self.pace.strict, limit_reached=limited, interrupted=interrupted)

    def _take(self, result: RotationResult, display: progress.Display) -> None:
        self.results.append(result)
        self._running.done(result.device)
        if not recap.is_idle(result):
            display.finished(recap.describe_line(result), notable=recap.is_notable(result))

    def _add_running(self) -> None:
        """Devices that nobody waits for any more."""
        for device, step in self._running.steps().items():
            self.results.append(
                RotationResult(device, Outcome.INTERRUPTED, reason=signals.INTERRUPTED, step=step.value)
            )

    def _show(self, lost: OttrError | None = None) -> None:
        if self._json:
            screen.say_json(describe_run(self.results, self._status if lost is None else ExitStatus.UNEXPECTED))
        else:
            screen.say_all(recap.format_recap(self.results, diff=self.diff, advise=self.advise))
        screen.flush()
        if lost is not None:
            screen.complain(str(lost), lost.hint)
