# SPDX-License-Identifier: Apache-2.0
"""The tables come from migrations, once, whoever comes first, and are what the code thinks they are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from ottr.errors import JournalError
from ottr.state import migrations, schema
from ottr.state.journal import Journal
from ottr.state.leases import Leases, current_owner

OPEN = """
import sys, datetime
from ottr.model import Secret
from ottr.state.database import Database
from ottr.state.journal import Journal
from ottr.state.leases import Leases, current_owner
clock = lambda: datetime.datetime.now(datetime.UTC)
sys.stdin.readline()
database = Database(Secret(sys.argv[1]))
leases = Leases(database, current_owner(), clock)
print(Journal(database, leases, clock)._installation)
database.close()
"""


def test_processes_that_start_at_once_all_get_the_tables_and_one_name(database_url, database_is_empty):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    told = [child.communicate(timeout=60) for child in children]
    assert [errors for _, errors in told] == [""] * 4
    assert len({name for name, _ in told}) == 1
    assert len(told[0][0].strip()) == 4


@pytest.fixture
def database_is_empty(database_url: str) -> None:
    """Nobody has opened it before."""
    assert "sqlite" not in database_url or not Path(database_url.removeprefix("sqlite:///")).exists()


def test_the_tables_are_those_of_the_schema(database):
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.HEAD


def test_the_migrations_come_to_the_same_tables(database_url):
    """New databases are made without them, old ones by them."""
    engine = sa.create_engine(database_url)
    migrations.upgrade(engine)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, schema.metadata) == []
        assert context.get_current_revision() == schema.HEAD
        assert len(connection.execute(sa.select(schema.installation.c.id)).scalar_one()) == 4
    engine.dispose()


def test_an_older_database_is_brought_up_to_date(open_database, database_url):
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    engine.dispose()
    with open_database().read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == schema.HEAD


def test_the_head_of_the_schema_is_the_newest_migration():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.HEAD]


def test_opening_again_changes_nothing(open_database):
    names = set()
    for _ in range(2):
        database = open_database()
        leases = Leases(database, current_owner(), lambda: None)
        names.add(Journal(database, leases, lambda: None)._installation)
    assert len(names) == 1


def test_a_database_of_a_newer_version_is_refused_and_left_alone(open_database):
    database = open_database()
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(JournalError, match="revision 9999, which this version does not know") as caught:
        open_database()
    assert "newer Ottr" in caught.value.hint
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999"


def test_a_migration_that_fails_leaves_nothing_behind(open_database, database_url):
    """A table of the same name is in the way; once it is gone the tables come."""
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE observation (device TEXT)"))
    with pytest.raises(JournalError, match="observation"):
        open_database()
    with engine.begin() as connection:
        assert sa.inspect(connection).get_table_names() == ["observation"]
        connection.execute(sa.text("DROP TABLE observation"))
    engine.dispose()
    with open_database().read() as connection:
        assert set(schema.metadata.tables) < set(sa.inspect(connection).get_table_names())
