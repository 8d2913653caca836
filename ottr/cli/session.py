# SPDX-License-Identifier: Apache-2.0
"""From options to a running service, and what goes wrong on the way back."""

from __future__ import annotations

import gc
import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ottr import headstart
from ottr.cli import screen
from ottr.cli.late import put_off
from ottr.cli.logs import Redactor, set_up_logs
from ottr.cli.options import Fleet, Shared
from ottr.errors import ConfigurationError, CredentialsError
from ottr.inventory.ansible import Ask
from ottr.inventory.options import InventoryOptions
from ottr.model import Secret

if TYPE_CHECKING:
    from ottr.app import App


@contextmanager
def open_app(shared: Shared, fleet: Fleet | None = None, *, broken: bool = False) -> Iterator[App]:
    """Give the parts of one run; the inventory's reader has started when there is an inventory to read.

    ``broken``: also when the operator's files are wrong, which shows when a part is used.
    """
    redactor = Redactor()
    set_up_logs(shared.verbose, shared.log_format, shared.log_file, redactor)
    from ottr.app import App, Options

    inventory = fleet.inventory_options() if fleet else InventoryOptions()
    staging = fleet is not None and fleet.staging
    app = App(Options(shared.config, inventory, staging), os.environ, _asker(redactor, fleet), redactor.learn)
    tolerated = (ConfigurationError,) if broken else ()
    try:
        with suppress(*tolerated):
            redactor.learn(app.settings)
            if fleet is not None:
                _ = app.inventory
        headstart.dismiss()  # this inventory takes no reader
        yield app
        if fleet is not None:
            with suppress(*tolerated):
                _show_warnings(app)
    finally:
        app.close()


def warm_up(app: App) -> None:
    """Import what a rotation needs while the inventory is being read."""
    put_off()
    gc.disable()  # nothing of it is garbage
    try:
        import ottr.acme.issuer
        import ottr.orchestrator.devicerun
        import ottr.probe
        import ottr.transports.ssh  # noqa: F401

        _ = app.service
        if app.settings.solvers:
            _ = app.publisher
        gc.freeze()  # what has been imported stays: the collector need not look through it again and again
    finally:
        gc.enable()


def _show_warnings(app: App) -> None:
    for warning in app.inventory.warnings:
        screen.warn(f"warning: {warning}")


def _asker(redactor: Redactor, fleet: Fleet | None) -> Ask | None:
    """Ask at the terminal; nobody is asked where there is none, unless an option says to."""
    asked_for = fleet is not None and bool(fleet.inventory_options().prompted())
    if not asked_for and not (sys.stdin and sys.stdin.isatty()):
        return None

    def ask(vault_id: str) -> Secret:
        try:
            password = Secret(getpass.getpass(f"Vault password ({vault_id}): "))
        except EOFError as error:
            raise CredentialsError(f"no vault password for {vault_id!r} was given") from error
        redactor.learn(password)
        return password

    return ask
