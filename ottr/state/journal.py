# SPDX-License-Identifier: Apache-2.0
"""The write-ahead journal: rotations and their steps, append only."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from ottr.model import Clock, Device, ErrorReport, KeyType, Route, Step, TxtRecord
from ottr.state.database import Database
from ottr.state.leases import Leases
from ottr.state.pruning import prune
from ottr.state.schema import installation, rotation, step, txt_record

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
_OPEN = _ALL.where(rotation.c.state == State.OPEN)
_OPEN_OF_DEVICE = _OPEN.where(rotation.c.device == _THIS)
_OF_DEVICE = _ALL.where(rotation.c.device == _THIS)
_BY_ID = _ALL.where(rotation.c.id == _THIS)
_UNCLEANED = _OF_DEVICE.where((rotation.c.state != State.OPEN) & (rotation.c.cleaned == sa.false()))
_STEPS = sa.select(step).where(step.c.rotation_id == _THIS).order_by(step.c.id)
_LEFT_OVER = (
    sa.select(txt_record.c.rotation_id, txt_record.c.name, txt_record.c.value)
    .join(rotation, rotation.c.id == txt_record.c.rotation_id)
    .where((rotation.c.device == _THIS) & txt_record.c.removed_at.is_(None))
    .distinct()
)
_INSERT = rotation.insert()
_INSERT_STEP = step.insert()
_INSERT_TXT = txt_record.insert()
_ATTEMPTED = rotation.update().where(rotation.c.id == _THIS).values(attempts=sa.bindparam("number"))
_ORDERED = rotation.update().where(rotation.c.id == _THIS).values(order_url=sa.bindparam("url"))
_CLEANED = rotation.update().where(rotation.c.id == _THIS).values(cleaned=sa.bindparam("gone"))
_END = (
    rotation.update().where(rotation.c.id == _THIS).values(state=sa.bindparam("became"), finished_at=sa.bindparam("at"))
)
_REMOVED = (
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
        return self._select(_OF_DEVICE, this=device)

    def latest(self) -> Mapping[str, Record]:
        """The newest rotation of every device."""
        return {record.device: record for record in self._select(_ALL)}

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
            connection.execute(_INSERT, _columns(record))
        return record

    def entries(self, rotation_id: str) -> Sequence[Entry]:
        """The steps of a rotation in the order they were written."""
        with self._database.read() as connection:
            return [_entry(row) for row in connection.execute(_STEPS, {"this": rotation_id})]

    def append(self, record: Record, entries: Sequence[Entry], also: Iterable[Also] = ()) -> None:
        """Add lines, durably. Raises DeviceLeased when the device is not ours any more."""
        with self._database.write() as connection:
            self._leases.confirm(connection, device_key(record.device))
            if entries:
                connection.execute(_INSERT_STEP, [_step_row(record, entry) for entry in entries])
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
            rows = connection.execute(_LEFT_OVER, {"this": device})
            return [(row.rotation_id, TxtRecord(row.name, row.value)) for row in rows]

    def prune(self, before: datetime) -> int:
        """Forget rotations that ended before a moment and left nothing behind; return how many."""
        return prune(self._database, before)

    def _select(self, query: sa.Select[Any], **values: str) -> Sequence[Record]:
        with self._database.read() as connection:
            return [_record(row) for row in connection.execute(query, values)]

    def _load_installation(self) -> str:
        """Made with the tables, so that there is only one whoever comes first."""
        with self._database.read() as connection:
            return str(connection.execute(sa.select(installation.c.id)).scalar_one())


def ending(rotation_id: str, state: State, at: datetime) -> Also:
    """The rotation is over."""
    return lambda connection: connection.execute(_END, {"this": rotation_id, "became": state, "at": at})


def attempted(rotation_id: str, attempts: int) -> Also:
    """One more run works on the rotation."""
    return lambda connection: connection.execute(_ATTEMPTED, {"this": rotation_id, "number": attempts})


def ordering(rotation_id: str, url: str) -> Also:
    """The order under way; empty: none is."""
    return lambda connection: connection.execute(_ORDERED, {"this": rotation_id, "url": url})


def presentation(rotation_id: str, txt: TxtRecord, at: datetime) -> Also:
    """A TXT value is about to appear."""
    row = {"rotation_id": rotation_id, "name": txt.name, "value": txt.value, "presented_at": at}
    return lambda connection: connection.execute(_INSERT_TXT, row)


def cleaning(rotation_id: str) -> Also:
    """Nothing of the rotation is on the device any more."""
    return lambda connection: connection.execute(_CLEANED, {"this": rotation_id, "gone": True})


def removal(rotation_id: str, txt: TxtRecord, at: datetime) -> Also:
    """A TXT value is gone."""
    this = {"this": rotation_id, "at_name": txt.name, "old": txt.value, "at": at}
    return lambda connection: connection.execute(_REMOVED, this)


def device_key(device: str) -> str:
    """Lease key of a device."""
    return f"device:{device}"


def group_key(group: str) -> str:
    """Lease key of an HA group; empty where there is none."""
    return f"ha_group:{group}" if group else ""


def _new_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(12))


def _step_row(record: Record, entry: Entry) -> dict[str, Any]:
    error = entry.error
    return {
        "rotation_id": record.id,
        "step": entry.step,
        "status": entry.status,
        "at": entry.at,
        "value": entry.value,
        "error_kind": error.kind if error else None,
        "error_message": error.message if error else None,
        "error_hint": error.hint if error else None,
    }


def _columns(record: Record) -> dict[str, Any]:
    columns = {name: getattr(record, name) for name in Record.__dataclass_fields__}
    return columns | {"dns_names": list(record.dns_names)}


def _record(row: sa.Row[Any]) -> Record:
    columns = dict(row._mapping)
    columns |= {
        "dns_names": tuple(row.dns_names),
        "key_type": KeyType(row.key_type),
        "state": State(row.state),
    }
    return Record(**columns)


def _entry(row: sa.Row[Any]) -> Entry:
    error = ErrorReport(row.error_kind, row.error_message, row.error_hint) if row.error_kind else None
    return Entry(Step(row.step), Status(row.status), row.at, row.value, error)
