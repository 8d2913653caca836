# SPDX-License-Identifier: Apache-2.0
"""``ottr doctor``: is everything there that a rotation needs?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ottr.cli import screen
from ottr.cli.options import Fleet, Form, Shared
from ottr.cli.screen import GREEN, RED, paint
from ottr.cli.session import open_app
from ottr.cli.table import printable
from ottr.report import SCHEMA_VERSION, ExitStatus

if TYPE_CHECKING:
    from ottr.doctor import Check


def doctor(
    shared: Shared,
    fleet: Fleet,
    write_dns: Annotated[
        bool, typer.Option("--write-dns", help="Write and remove a TXT value in every zone, under a random name.")
    ] = False,
) -> int:
    """Check settings, drivers, routing, inventory, state, DNS zones, CAs and the clock; connects to no device."""
    with open_app(shared, fleet, broken=True) as app:
        from ottr.doctor import examine

        checks = []
        for check in examine(app, write_dns=write_dns):
            checks.append(check)
            if shared.output is Form.HUMAN:
                _say(check)
    failed = sum(not check.ok for check in checks)
    status = ExitStatus.FAILED if failed else ExitStatus.OK
    if shared.output is Form.JSON:
        rows = [{"what": one.what, "ok": one.ok, "message": one.message, "hint": one.hint} for one in checks]
        screen.say_json({"version": SCHEMA_VERSION, "checks": rows, "exit_status": int(status)})
    else:
        screen.say()
        screen.say(f"{len(checks) - failed} ok, {failed} failed")
    return status


def _say(check: Check) -> None:
    mark = paint("ok    ", GREEN) if check.ok else paint("FAILED", RED)
    screen.say(f"{mark}  {printable(check.what)}: {printable(check.message)}")
    if check.hint:
        screen.say(f"        hint: {printable(check.hint)}")
    screen.flush()
