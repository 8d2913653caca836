# SPDX-License-Identifier: Apache-2.0
"""Whether anybody has committed to an SQLite file, and what can be done about its errors."""

from __future__ import annotations

import sqlite3
from typing import Any

from ottr.errors import StoreError


class CommitCounter:
    """Tells, in two microseconds, whether another connection has committed since one asked last.

    For one thread at a time. Call ``close`` at the end.
    """

    def __init__(self, connection: Any, place: str) -> None:
        self._connection = connection
        self._place = place

    def read(self) -> int:
        """A number that is another one after a commit (SQLite's ``data_version``). Raises StoreError."""
        try:
            return int(self._connection.execute("PRAGMA data_version").fetchall()[0][0])
        except sqlite3.Error as error:
            raise StoreError(f"the CA's database {self._place}: {error}", hint=find_hint(str(error))) from error

    def close(self) -> None:
        """Give back the connection."""
        self._connection.close()


def find_hint(cause: str) -> str:
    """What the operator can do about an error of a database."""
    if "locked" in cause:
        return "another process writes to it for too long; find it"
    if "full" in cause or "No space" in cause:
        return "make room on its disk"
    return "check that it can be reached, and written by this user"
