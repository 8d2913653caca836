# SPDX-License-Identifier: Apache-2.0
"""``ottr ca publish``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ottr.cli import screen
from ottr.cli.ca.place import Place
from ottr.cli.options import Form
from ottr.report import SCHEMA_VERSION, ExitStatus


def publish(
    place: Place,
    tree: Annotated[Path, typer.Argument(metavar="DIR", help="Made when it is not there; run this from a timer.")],
    responder: Annotated[
        str,
        typer.Option("--responder", metavar="HOST:PORT", help="`ottr ca serve`, for what has no file."),
    ] = "",
) -> int:
    """Write CRLs, issuers, OCSP answers and an nginx.conf as files that any web server can serve."""
    from ottr.ca.status.publishing import publish
    from ottr.ca.status.service import Status

    with place.open_with_keys() as authority, Status(authority) as status:
        done = publish(status, tree, responder)
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "folder": str(tree), "published": asdict(done)})
    else:
        screen.say(
            f"{tree}: {done.crls} CRLs, {done.issuers} issuers, {done.signed} OCSP answers signed, {done.kept} kept, "
            f"{done.removed} removed"
        )
    return ExitStatus.OK
