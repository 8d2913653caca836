# SPDX-License-Identifier: Apache-2.0
"""Hears of changes of status that any process has committed, cheaply enough to ask before every answer.

A change of status lets its issuer's ``status_version`` grow in the transaction that makes it. SQLite tells for next
to nothing whether anybody has committed anything since one asked last; other databases are asked for the versions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from ottr.ca.database import Database
from ottr.ca.schema import issuer, status_change

_MOST_NAMED = 1000
"""More changes than that at once, as of a compromised issuer, are told as all of its certificates."""
_VERSIONS = sa.select(issuer.c.id, issuer.c.status_version)
_CHANGES = (
    sa.select(status_change.c.id, status_change.c.serial)
    .where(status_change.c.issuer_id == sa.bindparam("one_issuer"), status_change.c.id > sa.bindparam("after"))
    .order_by(status_change.c.id)
    .limit(_MOST_NAMED + 1)
)
_LAST = sa.select(sa.func.max(status_change.c.id)).where(status_change.c.issuer_id == sa.bindparam("one_issuer"))


@dataclass(frozen=True, slots=True)
class Heard:
    """Certificates of one issuer whose status has changed."""

    issuer_id: str
    serials: frozenset[str] | None
    """None: any of them."""


class Watch:
    """Knows the status versions of all issuers. Safe for threads. Call ``close`` at the end."""

    def __init__(self, database: Database, tell: Callable[[Heard], None]) -> None:
        self._database = database
        self._tell = tell
        self._lock = threading.Lock()
        self._commits = database.open_commit_counter()
        self._seen = -1
        self._versions: dict[str, int] = {}
        self._last: dict[str, int] = {}
        self.look()

    @property
    def is_instant(self) -> bool:
        """Whether ``look`` takes no longer than a system call or two, unless there is something to tell."""
        return self._commits is not None

    @property
    def versions(self) -> Mapping[str, int]:
        """The status version of each issuer at the last look."""
        return self._versions

    def look(self) -> None:
        """Tell of what was committed since the last look. Raises StoreError."""
        with self._lock:
            if self._commits is None:
                self._compare()
                return
            commits = self._commits.read()
            if commits != self._seen:
                self._compare()
                self._seen = commits

    def close(self) -> None:
        """Give back the connection."""
        if self._commits is not None:
            self._commits.close()

    def _compare(self) -> None:
        with self._database.read() as connection:
            # Versions first: what is committed in between is told twice rather than never.
            versions = {str(key): int(version) for key, version in connection.execute(_VERSIONS)}
            for issuer_id, version in versions.items():
                if self._versions.get(issuer_id) != version:
                    self._tell_changes(connection, issuer_id)
        self._versions = versions

    def _tell_changes(self, connection: sa.Connection, issuer_id: str) -> None:
        found = connection.execute(_CHANGES, {"one_issuer": issuer_id, "after": self._last.get(issuer_id, 0)}).all()
        if len(found) > _MOST_NAMED:
            self._last[issuer_id] = connection.execute(_LAST, {"one_issuer": issuer_id}).scalar_one()
            self._tell(Heard(issuer_id, None))
            return
        if found:
            self._last[issuer_id] = found[-1].id
        self._tell(Heard(issuer_id, frozenset(row.serial for row in found)))
