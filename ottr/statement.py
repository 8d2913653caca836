# SPDX-License-Identifier: Apache-2.0
"""Statements that are run for every request or device: compiled once, then given to the database's driver as text.

SQLAlchemy writes them and knows how values are converted; run by it, each would cost five times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class _Plan:
    """A statement for one kind of database."""

    text: str
    places: tuple[str, ...] | None
    """Names of the values in the order of their places; None: they have names in the text."""
    constants: Mapping[str, Any]
    writers: tuple[tuple[str, Callable[[Any], Any]], ...]
    readers: tuple[tuple[int, Callable[[Any], Any]], ...]
    """Columns whose values are converted."""
    names: tuple[str, ...]
    """Of the columns."""


class Statement:
    """A statement with ``bindparam``s, without lists of changing length. Safe for threads.

    Its errors are those of the database's driver.
    ``columns`` are those that an insert or update gives values to, by their own names.
    """

    def __init__(self, clause: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete, columns: Sequence[str] = ()) -> None:
        self._clause = clause
        self._columns = list(columns) or None
        self._plans: dict[str, _Plan] = {}

    def fetch(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Row]:
        """Run it; all its rows, each in the order of the columns."""
        plan, cursor = self._run(connection, values)
        rows: list[Row] = cursor.fetchall()
        cursor.close()
        return [_read(plan, row) for row in rows] if plan.readers else rows

    def fetch_one(self, connection: sa.Connection, values: Mapping[str, Any]) -> Row | None:
        """Run it; its first row."""
        rows = self.fetch(connection, values)
        return rows[0] if rows else None

    def fetch_named(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run it; all its rows, each by the names of the columns."""
        plan, cursor = self._run(connection, values)
        rows = [dict(zip(plan.names, _read(plan, row), strict=True)) for row in cursor.fetchall()]
        cursor.close()
        return rows

    def change(self, connection: sa.Connection, values: Mapping[str, Any]) -> int:
        """Run it; the number of rows it changed."""
        _, cursor = self._run(connection, values)
        count = int(cursor.rowcount)
        cursor.close()
        return count

    def _run(self, connection: sa.Connection, values: Mapping[str, Any]) -> tuple[_Plan, Any]:
        plan = self._plans.get(connection.dialect.name) or self._compile(connection.dialect)
        given = {**plan.constants, **values} if plan.constants or plan.writers else values
        for name, write in plan.writers:
            given[name] = write(given[name])  # type: ignore[index]  # a copy
        cursor = connection.connection.cursor()
        cursor.execute(plan.text, given if plan.places is None else [given[name] for name in plan.places])
        return plan, cursor

    def _compile(self, dialect: sa.Dialect) -> _Plan:
        compiled: Any = self._clause.compile(dialect=dialect, column_keys=self._columns)
        impls = {name: bind.type.dialect_impl(dialect) for name, bind in compiled.binds.items()}
        writers = ((name, impl.bind_processor(dialect)) for name, impl in impls.items())
        columns = tuple(self._clause.exported_columns)
        impls_read = (column.type.dialect_impl(dialect) for column in columns)
        readers = ((place, impl.result_processor(dialect, None)) for place, impl in enumerate(impls_read))
        plan = _Plan(
            text=str(compiled),
            places=tuple(compiled.positiontup) if compiled.positional else None,
            constants={name: value for name, value in compiled.params.items() if value is not None},
            writers=tuple((name, write) for name, write in writers if write is not None),
            readers=tuple((place, read) for place, read in readers if read is not None),
            names=tuple(column.name for column in columns),
        )
        self._plans[dialect.name] = plan
        return plan


def _read(plan: _Plan, row: Row) -> Row:
    values = list(row)
    for place, read in plan.readers:
        values[place] = read(values[place])
    return values


def insert(table: sa.Table, *without: str) -> Statement:
    """The insert of a row, with a value for every column but some that the database fills in, and returns."""
    clause = table.insert().returning(*(table.c[name] for name in without)) if without else table.insert()
    return Statement(clause, [column.name for column in table.columns if column.name not in without])
