# SPDX-License-Identifier: Apache-2.0
"""``ottr ca serve`` and ``ottr ca eab``."""

from __future__ import annotations

from typing import Annotated

import typer

from ottr.ca.jose import encode
from ottr.ca.names import NameRules
from ottr.cli import screen
from ottr.cli.ca.place import Place
from ottr.cli.options import Form
from ottr.report import SCHEMA_VERSION, ExitStatus


def serve(place: Place) -> int:
    """Serve ACME, as ca.yaml says, until Ctrl-C or SIGTERM."""
    from ottr.ca.serving import read_server_settings, serve

    def tell(url: str) -> None:
        if place.output is Form.JSON:
            screen.say_json({"version": SCHEMA_VERSION, "directory": url})
        else:
            screen.say(f"serving {url}; Ctrl-C ends it")
        screen.flush()  # whoever reads it through a pipe or a file waits for it

    with place.open_with_keys() as authority:
        serve(authority, read_server_settings(authority.settings), tell)
    return ExitStatus.OK


def eab(
    place: Place,
    names: Annotated[
        list[str],
        typer.Argument(metavar="NAME...", help="What its account may have: example.com, '*.example.com', '*'."),
    ],
    kid: Annotated[str, typer.Option("--kid", help="Its id; made up unless given.")] = "",
) -> int:
    """Make the key of an external account binding: one ACME account, for these DNS names and no others."""
    from ottr.ca.acme import schema
    from ottr.ca.acme.accounts import create_binding

    with place.open_with_keys() as authority:
        authority.database.ensure("acme", schema.VERSION, schema.metadata)
        made, key = create_binding(authority, NameRules(dns=tuple(name.lower() for name in names)), kid)
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "kid": made, "hmac_key": encode(key)})
    else:
        screen.say(f"kid:      {made}\nhmac key: {encode(key)}\nIt is shown this once and binds one account.")
    return ExitStatus.OK
