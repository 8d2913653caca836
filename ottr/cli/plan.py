# SPDX-License-Identifier: Apache-2.0
"""``ottr plan``: what is due and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ottr.cli import screen
from ottr.cli.options import Fleet, Form, Pattern, Shared
from ottr.cli.recap import COLLAPSE_ABOVE
from ottr.cli.screen import BOLD, DIM, GREEN, YELLOW, paint
from ottr.cli.session import open_app
from ottr.cli.table import format_table, printable
from ottr.report import ExitStatus, describe_plan, describe_time

if TYPE_CHECKING:
    from ottr.selection import Candidate

_HEAD = ("DEVICE", "DUE", "REASON", "DRIVER", "ISSUER", "NOT AFTER", "NEXT")


def plan(shared: Shared, fleet: Fleet, pattern: Pattern = "all") -> int:
    """Show which devices are due, and why or why not; nothing is touched."""
    with open_app(shared, fleet) as app:
        from ottr.service import Selection

        candidates = app.service.plan(Selection(pattern, fleet.limit))
        if shared.output is Form.JSON:
            screen.say_json(describe_plan(candidates))
        else:
            screen.say_all(format_plan(candidates, whole=shared.verbose > 0))
    return ExitStatus.OK


def format_plan(candidates: Sequence[Candidate], *, whole: bool) -> Iterator[str]:
    """The plan in words. ``whole``: every device, also when very many have nothing to do."""
    idle = sum(one.reason == "not_due" for one in candidates)
    shown = [one for one in candidates if whole or idle <= COLLAPSE_ABOVE or one.reason != "not_due"]
    if shown:
        head, *rows = format_table(_HEAD, map(_row, shown))
        yield paint(head, BOLD)
        yield from (paint(row, *_colours(one)) for row, one in zip(rows, shown, strict=True))
        yield ""
    for one in candidates:
        if one.decision is None:
            yield printable(f"{one.host.name}: {one.reason}: {one.message}")
    due, left_out = sum(one.due for one in candidates), sum(one.decision is None for one in candidates)
    yield f"{due} due, {len(candidates) - due - left_out} not due, {left_out} that cannot be rotated"


def _row(one: Candidate) -> tuple[str, ...]:
    driver, issuer = (one.route.driver, one.route.issuer) if one.route else ("", "")
    until = describe_time(one.known.not_after) if one.known else ""
    return one.host.name, "yes" if one.due else "no", one.reason, driver, issuer, until or "", _next(one)


def _next(one: Candidate) -> str:
    if one.decision is None:
        return ""
    return "now" if one.due else describe_time(one.decision.next_at) or ""


def _colours(one: Candidate) -> tuple[str, ...]:
    if one.decision is None:
        return (YELLOW,)
    return (GREEN,) if one.due else (DIM,)
