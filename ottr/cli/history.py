# SPDX-License-Identifier: Apache-2.0
"""``ottr history``: rotations and their steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from ottr.cli import screen
from ottr.cli.options import Fleet, Form, Shared
from ottr.cli.screen import BOLD, GREEN, RED, YELLOW, paint
from ottr.cli.session import open_app
from ottr.cli.table import format_table, printable
from ottr.report import ExitStatus, describe_history, describe_time

if TYPE_CHECKING:
    from ottr.state.journal import Entry, Record

_HEAD = ("AT", "STEP", "STATUS", "ERROR")
_COLOURS = {"rotated": GREEN, "open": YELLOW, "abandoned": RED}


def history(
    shared: Shared,
    fleet: Fleet,
    host: Annotated[
        str, typer.Argument(metavar="HOST", help="One host, also one that left the inventory.", show_default=False)
    ] = "",
) -> int:
    """Show the rotations of a host, or of all, with steps, times and errors."""
    with open_app(shared, fleet) as app:
        from ottr.service import Selection

        hosts = [host] if host else [one.host.name for one in app.service.plan(Selection("all", fleet.limit))]
        found = [rotation for name in hosts for rotation in app.service.history(name)]
    if shared.output is Form.JSON:
        screen.say_json(describe_history(found))
    elif found:
        screen.say_all(line for rotation in found for line in _format(*rotation))
    else:
        screen.say(f"{host or 'the inventory'} has no rotations")
    return ExitStatus.OK


def _format(record: Record, entries: Sequence[Entry]) -> Iterator[str]:
    tries = f", {record.attempts} attempts" if record.attempts > 1 else ""
    title = f"{record.device}  rotation {record.id}  {record.state.value} ({record.reason}{tries})"
    yield paint(printable(f"{title}  {record.driver} / {record.issuer}"), BOLD, _COLOURS[record.state.value])
    rows = [
        (
            describe_time(entry.at) or "",
            entry.step.value,
            entry.status.value,
            f"{entry.error.message}{f' (hint: {entry.error.hint})' if entry.error.hint else ''}" if entry.error else "",
        )
        for entry in entries
    ]
    yield from (f"  {line}" for line in format_table(_HEAD, rows))
    yield ""
