# SPDX-License-Identifier: Apache-2.0
"""Every test of the state runs on SQLite and on a real PostgreSQL, each with a database of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ottr.lab.network import Network
from ottr.lab.postgresql import Postgresql, run_postgresql
from ottr.model import Secret
from ottr.state.database import Database


@pytest.fixture(scope="session")
def postgresql(network: Network) -> Iterator[Postgresql]:
    """One server for all tests of this process."""
    with run_postgresql(network.address(4)) as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/state.db"
    server: Postgresql = request.getfixturevalue("postgresql")
    return server.create_database(f"test_{secrets.token_hex(8)}")


@pytest.fixture
def open_database(database_url: str) -> Iterator[Callable[..., Database]]:
    """Opens the database as one more process would; all are closed in the end."""
    opened: list[Database] = []

    def open_one(**options: float) -> Database:
        opened.append(Database(Secret(database_url), **options))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def database(open_database: Callable[..., Database]) -> Database:
    return open_database()
