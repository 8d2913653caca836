# SPDX-License-Identifier: Apache-2.0
"""``ottr ca``: the private CA. Imported when it is asked for, and only then."""

from __future__ import annotations

import typer

from ottr.cli.ca.crl import crl
from ottr.cli.ca.enrolling import est_user
from ottr.cli.ca.generations import init, rewrap, rollover
from ottr.cli.ca.issuing import issue, renew
from ottr.cli.ca.looking import list_, show
from ottr.cli.ca.publish import publish
from ottr.cli.ca.serving import eab, serve
from ottr.cli.ca.status import hold, release, revoke
from ottr.cli.ca.transfer import export, import_
from ottr.cli.options import spread

_PANELS = (
    ("Certificates", (issue, renew, list_, show)),
    ("Status", (revoke, hold, release, crl, publish)),
    ("Files", (import_, export)),
    ("Service", (serve, eab, est_user)),
    ("The CA", (init, rollover, rewrap)),
)


def build() -> typer.Typer:
    """Every command below ``ottr ca``."""
    app = typer.Typer(
        name="ottr ca",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="A CA of your own: certificates for internal names and clients. Start with `ottr ca init`.",
    )
    for panel, commands in _PANELS:
        for command in commands:
            app.command(command.__name__.rstrip("_").replace("_", "-"), rich_help_panel=panel)(spread(command))
    return app
