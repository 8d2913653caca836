# SPDX-License-Identifier: Apache-2.0
"""``ottr rotate`` and ``ottr resume``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ottr.cli.options import Fleet, Misuse, Pace, Shared
from ottr.cli.session import open_app, warm_up

if TYPE_CHECKING:
    from ottr.app import App
    from ottr.service import Selection

_FORCED_WITHOUT_YES = 10

_Hosts = Annotated[
    str, typer.Argument(metavar="PATTERN", help="Hosts, in Ansible's pattern language; else all.", show_default=False)
]
Force = Annotated[bool, typer.Option("--force", help="Rotate what is not due too; needs a PATTERN.")]
Yes = Annotated[bool, typer.Option("-y", "--yes", help=f"--force more than {_FORCED_WITHOUT_YES} devices.")]
Check = Annotated[bool, typer.Option("-C", "--check", help="Look at devices, DNS and CA; change nothing.")]
Diff = Annotated[bool, typer.Option("-D", "--diff", help="Show what changes about each certificate.")]


def rotate(
    shared: Shared,
    fleet: Fleet,
    pace: Pace,
    pattern: _Hosts = "",
    force: Force = False,
    yes: Yes = False,
    check: Check = False,
    diff: Diff = False,
) -> int:
    """Rotate what is due; with --force, one host or some that are not."""
    if force and not pattern:
        raise Misuse("--force needs a PATTERN: name the hosts, or say all")
    if force and check:
        raise Misuse("--check looks at what is due; it takes no --force")
    with open_app(shared, fleet) as app:
        warm_up(app)
        from ottr.cli.rollout import Run
        from ottr.service import Selection

        selection = Selection(pattern or "all", fleet.limit)
        run = Run(app, shared, pace, lambda: _count_due(app, selection, forced=force), diff=diff, advise=not check)
        if check:
            return run.follow(lambda rollout, stop, _watch: app.service.check(selection, rollout, stop))
        if force and not yes:
            _refuse_many(_count_due(app, selection, forced=True))
        return run.follow(
            lambda rollout, stop, watch: app.service.rotate(selection, rollout, stop, forced=force, watch=watch)
        )


def resume(shared: Shared, fleet: Fleet, pace: Pace) -> int:
    """Go on with every rotation that is open, whatever stopped it."""
    if fleet.limit:
        raise Misuse("resume takes no --limit: it goes on with all that is open")
    with open_app(shared, fleet) as app:
        warm_up(app)
        from ottr.cli.rollout import Run

        run = Run(app, shared, pace, lambda: len(app.stores.journal.open_rotations()))
        return run.follow(lambda rollout, stop, watch: app.service.resume(rollout, stop, watch=watch))


def _count_due(app: App, selection: Selection, *, forced: bool) -> int:
    return sum(one.due for one in app.service.plan(selection, forced=forced))


def _refuse_many(devices: int) -> None:
    if devices > _FORCED_WITHOUT_YES:
        raise Misuse(f"--force would rotate {devices} devices; say --yes if that is meant")
