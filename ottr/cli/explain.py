# SPDX-License-Identifier: Apache-2.0
"""``ottr explain``: why a host is or is not rotated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ottr.cli import screen
from ottr.cli.options import Fleet, Form, Host, Misuse, Shared
from ottr.cli.screen import BOLD, GREEN, YELLOW, paint
from ottr.cli.session import open_app
from ottr.cli.table import format_table, printable
from ottr.report import ExitStatus, describe_explanation, describe_time

if TYPE_CHECKING:
    from ottr.model import Route
    from ottr.selection import Candidate
    from ottr.service import Explanation


def explain(shared: Shared, fleet: Fleet, host: Host) -> int:
    """Trace one host: its variables, names, routes, issuer, windows, schedule and rotations."""
    if fleet.limit:
        raise Misuse("--limit has no meaning here: HOST names the one host")
    with open_app(shared, fleet) as app:
        explanation = app.service.explain(host)
    if shared.output is Form.JSON:
        screen.say_json(describe_explanation(explanation))
    else:
        screen.say_all(_format(explanation))
    return ExitStatus.OK


def _format(explanation: Explanation) -> Iterator[str]:
    one = explanation.candidate
    yield from _verdict(one)
    yield from _inventory(one)
    if explanation.trials:
        yield from _title("Routes")
        for trial in explanation.trials:
            why = "taken" if trial.taken else trial.why
            line = printable(f"  line {trial.line}: {trial.driver}: {why}")
            yield paint(line, GREEN) if trial.taken else line
    if one.route is not None:
        yield from _route(one.route)
    yield from _certificate(one)
    if explanation.history:
        yield from _title("Rotations (`ottr history` shows their steps)")
        rows = [
            (describe_time(record.started_at) or "", record.id, record.state.value, record.reason, record.issuer)
            for record in explanation.history
        ]
        yield from (f"  {line}" for line in format_table(("BEGUN", "ROTATION", "STATE", "REASON", "ISSUER"), rows))


def _verdict(one: Candidate) -> Iterator[str]:
    if one.decision is None:
        yield paint(printable(f"{one.host.name} cannot be rotated: {one.reason}: {one.message}"), BOLD, YELLOW)
        return
    verdict = "is due" if one.due else "is not due"
    next_at = describe_time(one.decision.next_at)
    when = f", next at {next_at}" if next_at else ""
    yield paint(printable(f"{one.host.name} {verdict}: {one.reason}{when}"), BOLD)


def _inventory(one: Candidate) -> Iterator[str]:
    yield from _title("Inventory")
    if one.host.groups:
        yield printable(f"  groups: {', '.join(sorted(one.host.groups))}")
    yield from (printable(f"  {name}: {value}") for name, value in sorted(one.host.variables.items()))
    yield from (printable(f"  {name}: set, and secret") for name in sorted(one.host.secret_names))
    yield from (printable(f"  {name}: cannot be read: {why}") for name, why in sorted(one.host.problems.items()))
    if one.device is not None:
        yield printable(f"  names of the certificate: {', '.join(one.device.dns_names)}")


def _route(route: Route) -> Iterator[str]:
    yield from _title("Rotation")
    yield printable(f"  driver {route.driver}, issuer {route.issuer}, key {route.key_type.value}")
    if route.profile:
        yield printable(f"  profile {route.profile}")
    yield printable(f"  endpoints: {', '.join(map(str, route.endpoints)) or 'none'}")
    yield printable(f"  windows: {'; '.join(route.windows) or 'always'}")


def _certificate(one: Candidate) -> Iterator[str]:
    yield from _title("Certificate")
    if one.known is None:
        yield "  none is known; `ottr verify` looks at what is served"
        return
    known = one.known
    yield printable(f"  issued by {known.issuer}")
    yield f"  valid from {describe_time(known.not_before)} to {describe_time(known.not_after)}"
    yield f"  SHA-256 {known.sha256}"
    yield printable(f"  names: {', '.join(known.dns_names)}")


def _title(text: str) -> Iterator[str]:
    yield ""
    yield paint(text, BOLD)
