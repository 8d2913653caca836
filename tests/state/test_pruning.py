# SPDX-License-Identifier: Apache-2.0
"""What is forgotten of long ago, and what never is."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa

from ottr.model import Step, TxtRecord
from ottr.state import pruning
from ottr.state.certificates import insert_issued, mark, mark_superseded
from ottr.state.journal import Entry, Record, State, Status, device_key, presentation, removal
from ottr.state.schema import certificate, rotation, step, txt_record
from tests.state.book import NOW, Clock, Process
from tests.unit.authority import Authority

TXT = TxtRecord("_acme-challenge.web1.example.com", "value")
LATER = NOW + dt.timedelta(days=100)


@pytest.fixture
def process(database) -> Process:
    return Process(database, Clock())


def begin(process: Process) -> Record:
    process.leases.give_back(device_key("web1"))
    return process.begin()


def end(process: Process, state: State = State.ROTATED, *, cleaned: bool = True) -> Record:
    """A rotation that is over, with a step and a TXT value of its own."""
    record = begin(process)
    process.journal.append(
        record, [Entry(Step.CSR, Status.DONE, NOW, {"pem": "x"})], [presentation(record.id, TXT, NOW)]
    )
    process.journal.removed(record.id, TXT)
    return process.journal.update(record, state=state, cleaned=cleaned, finished_at=process.clock())


def serve(process: Process, record: Record) -> None:
    """It has issued a certificate that was seen to be served."""
    with process.database.write() as connection:
        insert_issued(connection, record, Authority().issue("web1.example.com"), NOW)
        mark(connection, record.id, NOW, "served_at")


def kept(process: Process) -> list[str]:
    return [record.id for record in process.journal.history("web1")]


def count(process: Process, *tables: sa.Table) -> list[int]:
    with process.database.read() as connection:
        return [connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in tables]


def test_what_ended_before_goes_with_all_that_hangs_on_it(process):
    old, abandoned = end(process), end(process, State.ABANDONED)
    serve(process, old)
    with process.database.write() as connection:
        mark_superseded(connection, "web1", "another", NOW)
    process.clock.advance(days=50)
    young = end(process)
    assert process.journal.prune(NOW + dt.timedelta(days=1)) == 2
    assert kept(process) == [young.id]
    assert count(process, rotation, step, txt_record, certificate) == [1, 1, 1, 0]
    assert process.journal.find(abandoned.id) is None


def test_what_is_open_or_on_the_device_or_served_or_published_stays(process):
    on_device, served, published = end(process, cleaned=False), end(process), end(process)
    serve(process, served)
    process.journal.append(published, [], [presentation(published.id, TxtRecord("_acme-challenge.x", "y"), NOW)])
    is_open = begin(process)
    assert process.journal.prune(LATER) == 0
    assert set(kept(process)) == {on_device.id, served.id, published.id, is_open.id}
    with process.database.write() as connection:
        removal(published.id, TxtRecord("_acme-challenge.x", "y"), NOW)(connection)
    assert process.journal.prune(LATER) == 1
    assert published.id not in kept(process)


def test_very_many_go_a_part_at_a_time(process, monkeypatch):
    monkeypatch.setattr(pruning, "_OVER", pruning._OVER.limit(2))
    for _ in range(5):
        end(process)
    assert process.journal.prune(LATER) == 5
    assert kept(process) == []
