# SPDX-License-Identifier: Apache-2.0
"""``ottr verify``: what is served now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ottr.cli import screen
from ottr.cli.options import Fleet, Form, Pace, Pattern, Shared
from ottr.cli.screen import BOLD, DIM, GREEN, RED, YELLOW, paint
from ottr.cli.session import open_app, warm_up
from ottr.cli.table import format_table, printable
from ottr.model import ServedStatus, VerifyResult
from ottr.report import ExitStatus, describe_time, describe_verifications, verify_status

_HEAD = ("DEVICE", "ENDPOINT", "STATUS", "SERIAL", "NOT AFTER", "ISSUED", "INSTALLED", "BOUND", "SERVED")
_COLOURS: Mapping[ServedStatus, str] = {
    ServedStatus.OK: GREEN,
    ServedStatus.DRIFT: RED,
    ServedStatus.UNREACHABLE: RED,
    ServedStatus.UNKNOWN: YELLOW,
    ServedStatus.SKIPPED: DIM,
}


def verify(shared: Shared, fleet: Fleet, pace: Pace, pattern: Pattern = "all") -> int:
    """Look at what every endpoint serves, report drift, and update the inventory with what was seen."""
    with open_app(shared, fleet) as app:
        warm_up(app)
        from ottr.cli.rollout import build_rollout
        from ottr.cli.signals import interruptible
        from ottr.orchestrator.runner import Stop
        from ottr.service import Selection

        results: list[VerifyResult] = []
        stop = Stop()

        def status() -> ExitStatus:
            skipped = pace.strict and any(one.status is ServedStatus.SKIPPED for one in results)
            found = ExitStatus.FAILED if skipped else verify_status(results)
            return ExitStatus.INTERRUPTED if stop else found

        def show() -> None:
            if shared.output is Form.JSON:
                screen.say_json(describe_verifications(results, status()))
            else:
                screen.say_all(_format(results))

        with interruptible(stop, lambda: "the running devices", show):
            selection = Selection(pattern, fleet.limit)
            for result in app.service.verify(selection, build_rollout(app, pace), stop):
                results.append(result)
        show()
    return status()


def _format(results: Sequence[VerifyResult]) -> Iterator[str]:
    if results:
        head, *rows = format_table(_HEAD, map(_row, results))
        yield paint(head, BOLD)
        yield from (paint(row, _COLOURS[one.status]) for row, one in zip(rows, results, strict=True))
        yield ""
    for one in results:
        where = f"{one.device} {one.endpoint}".rstrip()
        if one.problem:
            yield printable(f"{where}: {one.status.value}: {one.problem}")
        yield from (printable(f"{where}: warning: {warning}") for warning in one.warnings)
    counts = {status: sum(one.status is status for one in results) for status in ServedStatus}
    yield ", ".join(f"{number} {status.value}" for status, number in counts.items() if number) or "nothing to look at"
    if counts[ServedStatus.DRIFT]:
        yield "`ottr rotate` puts drift right; `ottr explain HOST` says more"


def _row(one: VerifyResult) -> tuple[str, ...]:
    times = (one.not_after, one.issued_at, one.installed_at, one.bound_at, one.served_at)
    return one.device, one.endpoint, one.status.value, one.serial, *(describe_time(time) or "" for time in times)
