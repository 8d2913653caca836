# SPDX-License-Identifier: Apache-2.0
"""The journal: written ahead, in order, by the holder of the device's lease alone."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ottr.errors import DeviceLeased, DeviceRejected, JournalError
from ottr.model import KeyType, Step, TxtRecord
from ottr.state.journal import Entry, Journal, State, Status, device_key, ending, presentation
from ottr.state.schema import installation, step
from tests.state.book import DEVICE, NOW, ROUTE, Clock, Process

TXT = TxtRecord("_acme-challenge.web1.example.com", "value")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def process(database, clock) -> Process:
    return Process(database, clock)


@pytest.fixture
def another(open_database, clock) -> Process:
    return Process(open_database(), clock, "b")


def present(process, record, txt) -> None:
    process.journal.append(record, [], [presentation(record.id, txt, NOW)])


def test_a_rotation_is_found_again_as_it_was_begun(process, another):
    record = process.begin()
    assert another.journal.find(record.id) == record
    assert (record.dns_names, record.key_type, record.state) == (DEVICE.dns_names, KeyType.EC384, State.OPEN)
    assert (record.reason, record.driver, record.issuer) == ("forced", "memory", "ca")
    assert (record.attempts, record.order_url, record.cleaned) == (0, "", False)
    assert (record.started_at, record.finished_at) == (NOW, None)
    assert another.journal.open_rotations() == another.journal.open_rotations("web1") == [record]
    assert another.journal.history("web1") == [record]


def test_what_is_not_there_is_not_found(process):
    assert process.journal.find("000000000000") is None
    assert process.journal.open_rotations("web1") == []
    assert process.journal.entries("000000000000") == []


def test_labels_fit_every_device_and_tell_installations_apart(process, another):
    first, second = process.begin(), another.begin(replace(DEVICE, name="web2"))
    assert re.fullmatch(r"ottr-[0-9a-z]{4}-[0-9a-z]{12}", first.label)
    assert len(first.label) <= 31
    assert first.label[:9] == second.label[:9]
    assert first.label != second.label
    assert first.label.endswith(first.id)


def test_a_journal_whose_installation_is_gone_cannot_be_trusted(process, database):
    with database.write() as connection:
        connection.execute(installation.delete())
    with pytest.raises(JournalError):
        Journal(database, process.leases, process.clock)


def test_entries_come_in_the_order_they_were_written_with_what_they_carried(process, another):
    record = process.begin()
    error = DeviceRejected("no\x00\x1b[2J space", hint="make room").report
    written = [
        Entry(Step.PREFLIGHT, Status.DONE, NOW, {"bound": "old \u2603", "leaf_pem": "", "nested": [1, {"a": None}]}),
        Entry(Step.INSTALL, Status.STARTED, NOW),
        Entry(Step.INSTALL, Status.FAILED, NOW + dt.timedelta(seconds=1), error=error),
        Entry(Step.ROLLBACK, Status.DONE, NOW),
    ]
    for entry in written:
        process.journal.append(record, [entry])
    assert another.journal.entries(record.id) == written


def test_a_write_takes_more_with_it_or_nothing_at_all(process):
    record = process.begin()

    def fail(connection: sa.Connection) -> None:
        connection.execute(step.insert(), {"rotation_id": "nobody's", "step": "csr", "status": "done", "at": NOW})

    with pytest.raises(JournalError):
        process.journal.append(record, [Entry(Step.CSR, Status.DONE, NOW)], [fail])
    assert process.journal.entries(record.id) == []
    later = NOW + dt.timedelta(hours=1)
    process.journal.append(record, [Entry(Step.RECORD, Status.DONE, NOW)], [ending(record.id, State.ROTATED, later)])
    found = process.journal.find(record.id)
    assert (found.state, found.finished_at) == (State.ROTATED, later)
    assert process.journal.open_rotations() == []
    assert process.journal.uncleaned("web1") == [found]


def test_an_update_is_returned_and_written(process, another):
    record = process.begin()
    changed = process.journal.update(record, attempts=2, order_url="https://ca.test/order/1")
    assert (changed.attempts, changed.order_url) == (2, "https://ca.test/order/1")
    assert another.journal.find(record.id) == changed
    process.journal.update(changed, state=State.ABANDONED, cleaned=True)
    assert another.journal.uncleaned("web1") == []
    assert another.journal.open_rotations() == []


def test_history_is_oldest_first_and_of_one_device(process, clock):
    first = process.begin()
    clock.advance(seconds=1)
    second = process.journal.begin(DEVICE, ROUTE, "forced")
    process.begin(replace(DEVICE, name="web2"))
    assert process.journal.history("web1") == [first, second]
    assert len(process.journal.open_rotations()) == 3


def test_records_left_over_are_remembered_until_they_are_gone(process, another):
    record = process.begin()
    present(process, record, TXT)
    present(process, record, TXT)  # presented again by a later run
    present(process, record, replace(TXT, value="other"))
    assert set(another.journal.leftover_records("web1")) == {(record.id, TXT), (record.id, replace(TXT, value="other"))}
    assert another.journal.leftover_records("web2") == []
    process.journal.removed(record.id, TXT)
    assert another.journal.leftover_records("web1") == [(record.id, replace(TXT, value="other"))]


WRITES = {
    "begin": lambda process, record: process.journal.begin(DEVICE, ROUTE, "forced"),
    "append": lambda process, record: process.journal.append(record, [Entry(Step.CSR, Status.DONE, NOW)]),
    "update": lambda process, record: process.journal.update(record, attempts=9),
    "presentation": lambda process, record: present(process, record, TXT),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_every_write_prolongs_the_lease(process, another, clock, write):
    record = process.begin()
    clock.advance(seconds=100)
    write(process, record)
    clock.advance(seconds=100)
    with pytest.raises(DeviceLeased):
        another.leases.take(device_key("web1"))


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_no_write_of_a_process_that_has_lost_the_lease_is_taken(process, another, clock, write):
    record = process.begin()
    clock.advance(seconds=121)
    another.leases.take(device_key("web1"))
    with pytest.raises(DeviceLeased, match="lost"):
        write(process, record)
    assert another.journal.history("web1") == [record]
    assert another.journal.entries(record.id) == []
    assert another.journal.leftover_records("web1") == []


def test_a_value_that_is_gone_is_written_down_whoever_has_the_lease(process, another, clock):
    """It is a fact of the zone, and the next holder would only look for it again."""
    record = process.begin()
    present(process, record, TXT)
    clock.advance(seconds=121)
    another.leases.take(device_key("web1"))
    process.journal.removed(record.id, TXT)
    assert another.journal.leftover_records("web1") == []
