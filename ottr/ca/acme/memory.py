# SPDX-License-Identifier: Apache-2.0
"""Rows that the next requests will ask for, kept for as long as nobody else writes to the database.

An order is a dozen requests and looks at its account, its authorizations and itself again and again. Where the database
is a file, whether anybody has written to it is known in some microseconds: then what was read is still true, and need
not be read again. Elsewhere nothing is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import sqlalchemy as sa
from cryptography import x509

from ottr.ca.acme.records import (
    Account,
    Authorization,
    Issued,
    Order,
    find_account,
    find_authorization,
    find_issued,
    find_order,
)
from ottr.ca.database import Database
from ottr.ca.issuers import list_chains
from ottr.ca.writer import Told, Version

_MOST_ROWS = 10_000
_MOST_NAMES = 10
_MOST_BYTES = 4096
"""Of a certificate. What is longer is rare, and not kept: so the rows have an end in bytes, too."""
Row = TypeVar("Row")
Rows = dict[tuple[type, str], Any]


class Memory:
    """What was read last. Safe for threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rows: Rows = {}
        self._version: Version | None = None
        self._state = object()
        """Another one whenever rows may have become others: what was read before that is not kept."""
        self._lock = threading.Lock()

    def look(self) -> View:
        """For one request. Raises StoreError."""
        version = self._database.read_version()
        if version is None:
            return View(self._database, {}, _forget)
        with self._lock:
            if version != self._version:
                self._rows, self._version, self._state = {}, version, object()
            state = self._state
            return View(self._database, self._rows, lambda key, row: self._keep(state, key, row))

    def tell(self, rows: Sequence[Account | Authorization | Issued | Order]) -> Told:
        """For ``Database.write``: rows as they are when it is committed; more may be added until then."""
        return lambda before, after: self._hear(rows, before, after)

    def _hear(self, rows: Sequence[Account | Authorization | Issued | Order], before: int, after: int) -> None:
        with self._lock:
            if self._version is not None and self._version[0] == before:
                self._version = after, self._version[1]
            self._state = object()
            for row in rows:
                self._put((type(row), row.id), row)

    def _keep(self, state: object, key: tuple[type, str], row: Any) -> None:
        with self._lock:
            if state is self._state:
                self._put(key, row)

    def _put(self, key: tuple[type, str], row: Any) -> None:
        if not _is_short(row):
            return
        self._rows[key] = row
        if len(self._rows) > _MOST_ROWS:
            self._rows.pop(next(iter(self._rows)))


def _is_short(row: object) -> bool:
    if isinstance(row, Order):
        return len(row.identifiers) <= _MOST_NAMES
    return not isinstance(row, Issued) or len(row.der) <= _MOST_BYTES


def _forget(key: tuple[type, str], row: object) -> None:
    del key, row


class View:
    """What one request reads: each row is as it was when the request came, or newer.

    For one ``with`` block after the other; what is not in memory is read in one transaction in each of them.
    """

    __slots__ = ("_connection", "_database", "_keep", "_rows", "_transaction")

    def __init__(self, database: Database, rows: Rows, keep: Callable[[tuple[type, str], Any], None]) -> None:
        self._database = database
        self._rows = rows
        self._keep = keep
        self._transaction: Any = None
        self._connection: sa.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        transaction, self._transaction, self._connection = self._transaction, None, None
        if transaction is not None:
            transaction.__exit__(kind, error, trace)

    @property
    def connection(self) -> sa.Connection:
        """To read more; a transaction is begun for the first who asks."""
        if self._connection is None:
            transaction = self._database.read()
            self._connection = transaction.__enter__()
            self._transaction = transaction
        return self._connection

    def find_account(self, account_id: str) -> Account | None:
        """An account by its id."""
        return self._find(Account, account_id, find_account)

    def find_order(self, order_id: str) -> Order | None:
        """An order by its id."""
        return self._find(Order, order_id, find_order)

    def find_authorization(self, authorization_id: str) -> Authorization | None:
        """An authorization by its id."""
        return self._find(Authorization, authorization_id, find_authorization)

    def list_authorizations(self, ids: Sequence[str]) -> tuple[Authorization, ...]:
        """Authorizations of an order."""
        found = (self.find_authorization(one) for one in ids)
        return tuple(one for one in found if one is not None)

    def find_issued(self, place: str) -> Issued | None:
        """The certificate of an order by its issuer and serial."""
        return self._find(Issued, place, find_issued)

    def find_chains(self, issuer_id: str) -> tuple[tuple[x509.Certificate, ...], ...]:
        """What is sent with a certificate of an issuer there is; see ``Authority.chains``."""
        return self._find(tuple, issuer_id, list_chains) or ()

    def _find(self, kind: type, key: str, find: Callable[[sa.Connection, str], Row | None]) -> Row | None:
        row: Row | None = self._rows.get((kind, key))
        if row is None and (row := find(self.connection, key)) is not None:
            self._keep((kind, key), row)
        return row
