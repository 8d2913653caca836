# SPDX-License-Identifier: Apache-2.0
"""``ottr drivers``: which there are, which routes use them, and whether one keeps the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ottr.cli import screen
from ottr.cli.logs import Redactor, set_up_logs
from ottr.cli.options import Form, Misuse, Shared
from ottr.cli.screen import BOLD, GREEN, RED, paint
from ottr.cli.session import open_app
from ottr.cli.table import format_table, printable
from ottr.errors import OttrError
from ottr.report import SCHEMA_VERSION, ExitStatus

if TYPE_CHECKING:
    from ottr.testing.contract import Verdict

_HEAD = ("DRIVER", "ROUTES", "WHAT IT IS")


class Action(StrEnum):
    """What to do with drivers."""

    LIST = "list"
    TEST = "test"


def drivers(
    shared: Shared,
    action: Annotated[Action, typer.Argument(metavar="list|test", help="List them, or test one.")] = Action.LIST,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The driver to test.", show_default=False)] = "",
    os_version: Annotated[
        list[str] | None, typer.Option("--os-version", help="Test at this release only; may be repeated.")
    ] = None,
    clause: Annotated[
        list[str] | None, typer.Option("--clause", help="Ask only clauses with these words; may be repeated.")
    ] = None,
) -> int:
    """List the drivers and the lines of routing.yaml that use each, or hold one against the contract of drivers."""
    if action is Action.TEST:
        if not name:
            raise Misuse("`ottr drivers test` needs the NAME of a driver")
        return _test(shared, name, os_version or [], clause or [])
    if name or os_version or clause:
        raise Misuse("a driver's name, --os-version and --clause belong to `ottr drivers test`")
    return _list(shared)


def _test(shared: Shared, name: str, versions: list[str], words: list[str]) -> int:
    set_up_logs(shared.verbose, shared.log_format, shared.log_file, Redactor())
    from ottr.testing.clauses import CLAUSES
    from ottr.testing.contract import name_clause, try_driver

    wanted = [one for one in CLAUSES if not words or any(word in name_clause(one) for word in words)]
    if not wanted:
        raise Misuse(f"no clause has the words {' or '.join(map(repr, words))}")
    verdicts = try_driver(name, versions, wanted)
    kept = list(verdicts if shared.output is Form.JSON else _show(name, verdicts))
    status = ExitStatus.FAILED if any(verdict.problem for verdict in kept) else ExitStatus.OK
    if shared.output is Form.JSON:
        rows = [
            {"os_version": one.version, "clause": one.clause, "kept": not one.problem, "problem": one.problem}
            for one in kept
        ]
        screen.say_json({"version": SCHEMA_VERSION, "driver": name, "clauses": rows, "exit_status": int(status)})
    return status


def _show(name: str, verdicts: Iterable[Verdict]) -> Iterator[Verdict]:
    """A line for each clause as soon as it has been asked."""
    version = None
    for verdict in verdicts:
        if verdict.version != version:
            version = verdict.version
            screen.say(paint(printable(f"{name} {version}"), BOLD))
        if verdict.problem:
            screen.say(f"  {paint('broken', RED)}  {verdict.clause}: {printable(verdict.problem)}")
        else:
            screen.say(f"  {paint('kept', GREEN)}    {verdict.clause}")
        screen.flush()
        yield verdict


def _list(shared: Shared) -> int:
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
