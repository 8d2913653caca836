# SPDX-License-Identifier: Apache-2.0
"""Brings older tables to the newest revision with Alembic."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ottr.errors import JournalError


def upgrade(engine: sa.Engine) -> None:
    """Run what is missing, alone. Raises JournalError for a database that a newer Ottr has made."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with engine.connect() as connection:
        _refuse_newer(connection, ScriptDirectory.from_config(config))
        config.attributes["connection"] = connection
        with connection.begin():
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            command.upgrade(config, "head")


def _refuse_newer(connection: sa.Connection, script: ScriptDirectory) -> None:
    with connection.begin():
        current = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise JournalError(
            f"the state database is of revision {current}, which this version does not know",
            hint="run the newer Ottr that made it",
        )
