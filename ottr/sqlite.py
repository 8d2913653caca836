# SPDX-License-Identifier: Apache-2.0
"""SQLite files as Ottr and its CA open them."""

from __future__ import annotations

import sqlite3
import time

_PAUSE_S = 0.02


def tune(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    """Write ahead, to the disk, in transactions that the caller begins. Raises sqlite3.Error."""
    connection.isolation_level = None
    _write_ahead(connection, time.monotonic() + busy_timeout_s)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: sqlite3.Connection, deadline: float) -> None:
    """Of several that open a new file at once SQLite lets one change its mode, and has the others not wait but fail."""
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
        else:
            return
