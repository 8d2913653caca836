# SPDX-License-Identifier: Apache-2.0
"""What is done to one host by hand: ``rollback``, ``abandon``, ``release``, ``cleanup``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ottr.cli import screen
from ottr.cli.options import Fleet, Form, Host, Misuse, Shared
from ottr.cli.recap import format_recap
from ottr.cli.session import open_app, warm_up
from ottr.model import Outcome, RotationResult
from ottr.report import SCHEMA_VERSION, ExitStatus, describe_run


def rollback(shared: Shared, fleet: Fleet, host: Host) -> int:
    """Put back the certificate a host had before its last rotation, and see it served."""
    with open_app(shared, _whole(fleet)) as app:
        warm_up(app)
        result = app.service.rollback(host)
    # Without a certificate seen from outside the warning says what a human has to look at.
    seen = result.outcome is Outcome.ROLLED_BACK and bool(result.new_sha256)
    return _show(shared, result, ExitStatus.OK if seen else ExitStatus.FAILED)


def abandon(shared: Shared, fleet: Fleet, host: Host) -> int:
    """Give the open rotation of a host up; the next run begins a new one."""
    with open_app(shared, _whole(fleet)) as app:
        warm_up(app)
        result = app.service.abandon(host)
    return _show(shared, result, ExitStatus.OK)


def release(shared: Shared, fleet: Fleet, host: Host) -> int:
    """Let the next run try a host at once: out of quarantine and back-off, and free of a dead run's lease."""
    with open_app(shared, _whole(fleet)) as app:
        released = app.service.release(host)
    if shared.output is Form.JSON:
        _say(host, {"released": list(released)})
    else:
        screen.say_all(f"{host}: released: {what}" for what in released)
        if not released:
            screen.say(f"{host}: nothing held it back")
    return ExitStatus.OK


def cleanup(
    shared: Shared,
    fleet: Fleet,
    host: Host,
    remove: Annotated[bool, typer.Option("--remove", help="Remove them; else they are only listed.")] = False,
    foreign: Annotated[bool, typer.Option("--foreign", help="Those of other or lost state databases too.")] = False,
) -> int:
    """List what dead rotations left on a host: keys and certificates that nothing uses or keeps."""
    with open_app(shared, _whole(fleet)) as app:
        warm_up(app)
        labels = app.service.cleanup(host, remove=remove, foreign=foreign)
    if shared.output is Form.JSON:
        _say(host, {"labels": list(labels), "removed": remove})
        return ExitStatus.OK
    screen.say_all(f"{host}: {'removed' if remove else 'orphan'}: {label}" for label in labels)
    if not labels:
        screen.say(f"{host}: nothing is left over")
    elif not remove:
        again = f"ottr cleanup {host}{' --foreign' if foreign else ''} --remove"
        screen.say(f"`{again}` removes {'them' if len(labels) > 1 else 'it'}")
    return ExitStatus.OK


def _whole(fleet: Fleet) -> Fleet:
    if fleet.limit:
        raise Misuse("--limit has no meaning here: HOST names the one host")
    return fleet


def _show(shared: Shared, result: RotationResult, status: ExitStatus) -> int:
    if shared.output is Form.JSON:
        screen.say_json(describe_run([result], status))
    else:
        screen.say_all(format_recap([result], diff=False, advise=False))
    return status


def _say(host: str, content: dict[str, Any]) -> None:
    screen.say_json({"version": SCHEMA_VERSION, "device": host, **content})
