# SPDX-License-Identifier: Apache-2.0
"""``ottr init``: the operator's first files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ottr.cli import screen
from ottr.cli.options import Form, Shared
from ottr.report import SCHEMA_VERSION, ExitStatus


def init(
    shared: Shared,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.")] = Path(),
    lab: Annotated[
        Path | None, typer.Option("--lab", help="Folder of a running `ottr lab`: its fleet, DNS and CA.")
    ] = None,
) -> int:
    """Write a commented ottr.yaml, routing.yaml and inventory/; nothing is overwritten."""
    from ottr.files.start import take_over_lab, write_start

    written = write_start(folder) if lab is None else take_over_lab(lab, folder)
    if shared.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "written": [str(path) for path in written]})
        return ExitStatus.OK
    screen.say_all(f"wrote {path}" for path in written)
    screen.say()
    if lab is None:
        screen.say("Put your hosts, your CA and your DNS into them, then: ottr doctor, ottr plan, ottr rotate")
    else:
        screen.say("Next: ottr plan, then ottr rotate")
    return ExitStatus.OK
