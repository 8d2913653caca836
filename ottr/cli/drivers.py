# SPDX-License-Identifier: Apache-2.0
"""``ottr drivers``: which there are, and which routes use them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from ottr.cli import screen
from ottr.cli.options import Form, Shared
from ottr.cli.screen import BOLD, paint
from ottr.cli.session import open_app
from ottr.cli.table import format_table
from ottr.errors import OttrError
from ottr.report import SCHEMA_VERSION, ExitStatus

_HEAD = ("DRIVER", "ROUTES", "WHAT IT IS")


class Action(StrEnum):
    """What to do with drivers."""

    LIST = "list"


def drivers(
    shared: Shared,
    action: Annotated[Action, typer.Argument(metavar="list", help="List them.")] = Action.LIST,
) -> int:
    """List the drivers, and the lines of routing.yaml that use each."""
    del action
    from ottr.doctor import driver_names

    with open_app(shared) as app:
        routes: dict[str, list[int]] = {}
        if app.settings.routing.exists():
            for rule in app.router.rules:
                routes.setdefault(rule.driver, []).append(rule.line)
    rows = [_describe(name, routes.get(name, [])) for name in driver_names()]
    if shared.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "drivers": rows})
        return ExitStatus.OK
    cells = [(row["name"], ", ".join(f"line {line}" for line in row["routes"]), row["summary"]) for row in rows]
    for number, line in enumerate(format_table(_HEAD, cells)):
        screen.say(line if number else paint(line, BOLD))
    return ExitStatus.OK


def _describe(name: str, lines: list[int]) -> dict[str, Any]:
    return {"name": name, "routes": lines, "summary": _summary(name)}


def _summary(name: str) -> str:
    """First line of the driver's own description."""
    from ottr.drivers import load

    try:
        text = load(name).__doc__ or ""
    except (ImportError, OttrError) as error:
        return f"cannot be loaded: {error}"
    return text.strip().partition("\n")[0]
