# SPDX-License-Identifier: Apache-2.0
"""Statements that run for every device: compiled once for each kind of database, then handed to its driver.

SQLAlchemy says them and knows how values look in each database; its way from a statement to the driver, and back with
the rows, costs ten times what SQLite does with them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

Row = dict[str, Any]
"""A row by the names of its columns, its values as SQLAlchemy would give them."""

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A statement as the driver of one kind of database wants it."""

    text: str
    named: bool
    """Whether the driver takes its values by name."""
    names: tuple[str, ...]
    """Of the values, in the order of the text."""
    binds: tuple[tuple[int, Convert], ...]
    """Which of them the driver does not take as they are."""
    constants: Mapping[str, Any]
    """Values that the statement has itself."""
    columns: tuple[str, ...]
    results: tuple[tuple[str, Convert], ...]
    """Columns whose values are not given as the driver has them."""


class Statement:
    """One statement. Its errors are the driver's own, of which ``Database`` makes JournalErrors."""

    def __init__(self, core: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete) -> None:
        self._core = core
        self._compiled: dict[str, _Compiled] = {}

    def run(self, connection: sa.Connection, values: Mapping[str, Any]) -> int:
        """Write in the connection's transaction; return how many rows were made, changed or removed."""
        return int(self._execute(connection, self._compile(connection), values).rowcount)

    def fetch(self, connection: sa.Connection, values: Mapping[str, Any]) -> list[Row]:
        """Read all the rows."""
        compiled = self._compile(connection)
        rows = []
        for found in self._execute(connection, compiled, values).fetchall():
            row = dict(zip(compiled.columns, found, strict=True))
            for name, convert in compiled.results:
                row[name] = convert(row[name])
            rows.append(row)
        return rows

    def _execute(self, connection: sa.Connection, compiled: _Compiled, values: Mapping[str, Any]) -> Any:
        if compiled.constants:
            values = {**compiled.constants, **values}
        given = [values[name] for name in compiled.names]
        for at, convert in compiled.binds:
            if given[at] is not None:
                given[at] = convert(given[at])
        wanted = dict(zip(compiled.names, given, strict=True)) if compiled.named else given
        cursor = cast(Any, connection.connection.dbapi_connection).cursor()
        cursor.execute(compiled.text, wanted)
        return cursor

    def _compile(self, connection: sa.Connection) -> _Compiled:
        kind = connection.dialect.name
        found = self._compiled.get(kind)
        if found is None:
            found = self._compiled[kind] = _compile(self._core, connection.dialect)
        return found


def insert_into(table: sa.Table, columns: Sequence[str]) -> Statement:
    """A row of these columns."""
    return Statement(table.insert().inline().values({name: sa.bindparam(name) for name in columns}))


def _compile(core: sa.Select[Any] | sa.Insert | sa.Update | sa.Delete, dialect: sa.Dialect) -> _Compiled:
    made = cast(Any, core.compile(dialect=dialect))
    names = tuple(made.params if made.positiontup is None else made.positiontup)
    binds = [(at, _bind(made.binds[name].type, dialect)) for at, name in enumerate(names)]
    columns = tuple(core.selected_columns) if isinstance(core, sa.Select) else ()
    results = [(column.name, _result(column.type, dialect)) for column in columns]
    return _Compiled(
        text=str(made),
        named=made.positiontup is None,
        names=names,
        binds=tuple((at, convert) for at, convert in binds if convert is not None),
        constants={name: value for name, value in made.params.items() if value is not None},
        columns=tuple(column.name for column in columns),
        results=tuple((name, convert) for name, convert in results if convert is not None),
    )


def _bind(of: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Convert | None:
    return of.dialect_impl(dialect).bind_processor(dialect)


def _result(of: sa.types.TypeEngine[Any], dialect: sa.Dialect) -> Convert | None:
    return of.dialect_impl(dialect).result_processor(dialect, None)
