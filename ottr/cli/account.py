# SPDX-License-Identifier: Apache-2.0
"""``ottr account``: the account at a CA, and a new key for it."""

from __future__ import annotations

from typing import Annotated

import typer

from ottr.cli import screen
from ottr.cli.options import Fleet, Form, Shared
from ottr.cli.session import open_app
from ottr.report import SCHEMA_VERSION, ExitStatus


def account(
    shared: Shared,
    fleet: Fleet,
    issuer: Annotated[str, typer.Argument(metavar="ISSUER", help="A key of `issuers` in ottr.yaml.")],
    new_key: Annotated[bool, typer.Option("--new-key", help="Give the account a new key (RFC 8555 7.3.5).")] = False,
) -> int:
    """Show the URL of the account at a CA, registering it if there is none; with --new-key, change its key."""
    with open_app(shared, fleet) as app:
        url = app.service.account(issuer, new_key=new_key)
    if shared.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "issuer": issuer, "account": url, "changed": new_key})
    else:
        screen.say(f"{issuer}: {url}" + (" has a new key" if new_key else ""))
    return ExitStatus.OK
