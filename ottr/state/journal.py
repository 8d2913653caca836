# SPDX-License-Identifier: Apache-2.0
"""The write-ahead journal: rotations and their steps, append only."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

import sqlalchemy as sa

from ottr.model import Clock, Device, ErrorReport, KeyType, Route, Step, TxtRecord
from ottr.state.database import Database
from ottr.state.leases import Leases
from ottr.state.pruning import prune
from ottr.state.schema import installation, rotation, step, txt_record
from ottr.statement import Statement

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"

Also = Callable[[sa.Connection], object]
"""More to write in the same transaction."""


class Status(StrEnum):
    """How far one step is."""

    STARTED = "started"
    DONE = "done"
    FAILED = "failed"


class State(StrEnum):
    """What has become of a rotation."""

    OPEN = "open"
    ROTATED = "rotated"
    ABANDONED = "abandoned"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal."""

    step: Step
    status: Status
    at: datetime
    value: Mapping[str, Any] | None = None
    error: ErrorReport | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One rotation as the journal knows it."""

    id: str
    device: str
    label: str
    reason: str
    driver: str
    issuer: str
    dns_names: tuple[str, ...]
    key_type: KeyType
    state: State
    attempts: int
    order_url: str
    cleaned: bool
    started_at: datetime
    finished_at: datetime | None


# Made once: these run for every device.
_THIS: sa.BindParameter[str] = sa.bindparam("this")
_ALL = sa.select(rotation).order_by(rotation.c.started_at, rotation.c.id)
_IS_OPEN = rotation.c.state == State.OPEN.value
_THIS_ONE = rotation.c.id == _THIS
_OPEN = Statement(_ALL.where(_IS_OPEN))
_OPEN_OF_DEVICE = Statement(_ALL.where(_IS_OPEN & (rotation.c.device == _THIS)))
_OF_DEVICE = _ALL.where(rotation.c.device == _THIS)
_HISTORY = Statement(_OF_DEVICE)
_LATEST = Statement(_ALL)
_BY_ID = Statement(_ALL.where(_THIS_ONE))
_UNCLEANED = Statement(_OF_DEVICE.where(~_IS_OPEN & (rotation.c.cleaned == sa.false())))
_STEPS = Statement(sa.select(step).where(step.c.rotation_id == _THIS).order_by(step.c.id))
_LEFT_OVER = Statement(
    sa.select(txt_record.c.rotation_id, txt_record.c.name, txt_record.c.value)
    .join(rotation, rotation.c.id == txt_record.c.rotation_id)
    .where((rotation.c.device == _THIS) & txt_record.c.removed_at.is_(None))
    .distinct()
)
_INSERT = Statement(rotation.insert().inline(), tuple(Record.__dataclass_fields__))
_INSERT_TXT = Statement(txt_record.insert().inline(), ("rotation_id", "name", "value", "presented_at"))
_ATTEMPTED = Statement(rotation.update().where(_THIS_ONE).values(attempts=sa.bindparam("number")))
_ORDERED = Statement(rotation.update().where(_THIS_ONE).values(order_url=sa.bindparam("url")))
_CLEANED = Statement(rotation.update().where(_THIS_ONE).values(cleaned=sa.true()))
_END = Statement(
    rotation.update().where(_THIS_ONE).values(state=sa.bindparam("became"), finished_at=sa.bindparam("at"))
)
_REMOVED = Statement(
    txt_record.update()
    .where(
        (txt_record.c.rotation_id == _THIS)
        & (txt_record.c.name == sa.bindparam("at_name"))
        & (txt_record.c.value == sa.bindparam("old"))
    )
    .values(removed_at=sa.bindparam("at"))
)


class Journal:
    """Rotations in the state database. Writes to an open rotation need the device's lease and prolong it."""

    def __init__(self, database: Database, leases: Leases, clock: Clock) -> None:
        self._database = database
        self._leases = leases
        self._clock = clock
        self._installation = self._load_installation()

    def owns(self, label: str) -> bool:
        """Whether a label is one of this database's."""
        return label.startswith(f"ottr-{self._installation}-")

    def reading(self) -> AbstractContextManager[object]:
        """All that this thread reads of the state inside the block is read in one transaction."""
        return self._database.read()

    def find(self, rotation_id: str) -> Record | None:
        """Look a rotation up by its id."""
        found = self._select(_BY_ID, this=rotation_id)
        return found[0] if found else None

    def open_rotations(self, device: str | None = None) -> Sequence[Record]:
        """Open rotations, of one device or of all; several of one only if a database was put back."""
        return self._select(_OPEN) if device is None else self._select(_OPEN_OF_DEVICE, this=device)

    def history(self, device: str) -> Sequence[Record]:
        """All rotations of a device, the oldest first."""
        return self._select(_HISTORY, this=device)

    def latest(self) -> Mapping[str, Record]:
        """The newest rotation of every device."""
        return {record.device: record for record in self._select(_LATEST)}

    def uncleaned(self, device: str) -> Sequence[Record]:
        """Ended rotations that may still have objects on the device."""
        return self._select(_UNCLEANED, this=device)

    def begin(self, device: Device, route: Route, reason: str) -> Record:
        """Write a new rotation down before anything of it exists anywhere."""
        identifier = _new_id()
        record = Record(
            id=identifier,
            device=device.name,
            label=f"ottr-{self._installation}-{identifier}",
            reason=reason,
            driver=route.driver,
            issuer=route.issuer,
            dns_names=device.dns_names,
            key_type=route.key_type,
            state=State.OPEN,
            attempts=0,
            order_url="",
            cleaned=False,
            started_at=self._clock(),
            finished_at=None,
        )
        with self._database.write() as connection:
            self._leases.confirm(connection, device_key(device.name))
            _INSERT.change(connection, _columns(record))
        return record

    def entries(self, rotation_id: str) -> Sequence[Entry]:
        """The steps of a rotation in the order they were written."""
        with self._database.read() as connection:
            return [_entry(row) for row in _STEPS.fetch_named(connection, {"this": rotation_id})]

    def append(
        self, record: Record, entries: Sequence[Entry], also: Iterable[Also] = (), *, durable: bool = True
    ) -> None:
        """Add lines; see ``Database.write``. Raises DeviceLeased when the device is not ours any more."""
        with self._database.write(durable=durable) as connection:
            self._leases.confirm(connection, device_key(record.device))
            if entries:
                _insert_steps(len(entries)).change(connection, _step_values(record, entries))
            for more in also:
                more(connection)

    def update(self, record: Record, **values: Any) -> Record:
        """Change columns of a rotation."""
        with self._database.write() as connection:
            self._leases.confirm(connection, device_key(record.device))
            connection.execute(rotation.update().where(rotation.c.id == record.id).values(values))
        return replace(record, **values)

    def removed(self, rotation_id: str, txt: TxtRecord) -> None:
        """A TXT value is gone. A fact, so that it needs no lease."""
        with self._database.write() as connection:
            removal(rotation_id, txt, self._clock())(connection)

    def leftover_records(self, device: str) -> Sequence[tuple[str, TxtRecord]]:
        """TXT values of a device's rotations that may still be published, with their rotation's id."""
        with self._database.read() as connection:
            rows = _LEFT_OVER.fetch_named(connection, {"this": device})
            return [(row["rotation_id"], TxtRecord(row["name"], row["value"])) for row in rows]

    def prune(self, before: datetime) -> int:
        """Forget rotations that ended before a moment and left nothing behind; return how many."""
        return prune(self._database, before)

    def _select(self, query: Statement, **values: str) -> Sequence[Record]:
        with self._database.read() as connection:
            return [_record(row) for row in query.fetch_named(connection, values)]

    def _load_installation(self) -> str:
        """Made with the tables, so that there is only one whoever comes first."""
        with self._database.read() as connection:
            return str(connection.execute(sa.select(installation.c.id)).scalar_one())


def ending(rotation_id: str, state: State, at: datetime) -> Also:
    """The rotation is over."""
    return lambda connection: _END.change(connection, {"this": rotation_id, "became": state, "at": at})


def attempted(rotation_id: str, attempts: int) -> Also:
    """One more run works on the rotation."""
    return lambda connection: _ATTEMPTED.change(connection, {"this": rotation_id, "number": attempts})


def ordering(rotation_id: str, url: str) -> Also:
    """The order under way; empty: none is."""
    return lambda connection: _ORDERED.change(connection, {"this": rotation_id, "url": url})


def presentation(rotation_id: str, txt: TxtRecord, at: datetime) -> Also:
    """A TXT value is about to appear."""
    row = {"rotation_id": rotation_id, "name": txt.name, "value": txt.value, "presented_at": at}
    return lambda connection: _INSERT_TXT.change(connection, row)


def cleaning(rotation_id: str) -> Also:
    """Nothing of the rotation is on the device any more."""
    return lambda connection: _CLEANED.change(connection, {"this": rotation_id})


def removal(rotation_id: str, txt: TxtRecord, at: datetime) -> Also:
    """A TXT value is gone."""
    this = {"this": rotation_id, "at_name": txt.name, "old": txt.value, "at": at}
    return lambda connection: _REMOVED.change(connection, this)


def device_key(device: str) -> str:
    """Lease key of a device."""
    return f"device:{device}"


def group_key(group: str) -> str:
    """Lease key of an HA group; empty where there is none."""
    return f"ha_group:{group}" if group else ""


def _new_id() -> str:
    """Five bits of a byte for each of the 32 characters."""
    return "".join(_ALPHABET[byte % 32] for byte in secrets.token_bytes(12))


@cache
def _insert_steps(count: int) -> Statement:
    """So many rows at once."""
    columns = [column for column in step.c if column.name != "id"]
    rows: list[dict[str, Any]] = [
        {column.name: sa.bindparam(f"{column.name}{number}", type_=column.type) for column in columns}
        for number in range(count)
    ]
    return Statement(step.insert().inline().values(rows))


def _step_values(record: Record, entries: Sequence[Entry]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for number, entry in enumerate(entries):
        error = entry.error
        values[f"rotation_id{number}"] = record.id
        values[f"step{number}"] = entry.step.value
        values[f"status{number}"] = entry.status.value
        values[f"at{number}"] = entry.at
        values[f"value{number}"] = entry.value
        values[f"error_kind{number}"] = error.kind if error else None
        values[f"error_message{number}"] = error.message if error else None
        values[f"error_hint{number}"] = error.hint if error else None
    return values


def _columns(record: Record) -> dict[str, Any]:
    columns = {name: getattr(record, name) for name in Record.__dataclass_fields__}
    return columns | {"dns_names": list(record.dns_names)}


def _record(row: dict[str, Any]) -> Record:
    row["dns_names"] = tuple(row["dns_names"])
    row["key_type"] = KeyType(row["key_type"])
    row["state"] = State(row["state"])
    return Record(**row)


def _entry(row: dict[str, Any]) -> Entry:
    told = (row["error_kind"], row["error_message"], row["error_hint"])
    error = ErrorReport(*told) if row["error_kind"] else None
    return Entry(Step(row["step"]), Status(row["status"]), row["at"], row["value"], error)
