# SPDX-License-Identifier: Apache-2.0
"""What is remembered of a device between runs: failures, back-off, quarantine and the CA's window."""

from __future__ import annotations

import datetime as dt

import pytest

from ottr.errors import AcmeProblem
from ottr.state.schedules import BACK_OFF, Schedule, forget
from ottr.state.view import load_view
from tests.state.book import NOW, Clock, Process
from tests.unit.authority import Authority

ERROR = AcmeProblem("no such name\x00").report
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def process(database) -> Process:
    return Process(database, Clock())


def succeed(process, device) -> None:
    with process.database.write() as connection:
        forget(connection, device)


def test_nothing_is_kept_of_a_device_that_never_failed(process):
    assert process.schedules.find("web1") == Schedule("web1")
    assert process.schedules.load() == {}
    succeed(process, "web1")
    assert process.schedules.load() == {}


def test_failures_in_a_row_wait_longer_and_longer_and_end_in_quarantine(process):
    for number in range(1, 7):
        process.clock.advance(days=2)
        process.schedules.failed("web1", ERROR, quarantine_after=5)
        kept = process.schedules.find("web1")
        assert kept.failures == number
        assert kept.not_before == process.clock.now + BACK_OFF[min(number, 4) - 1]
        assert (kept.quarantined_at is not None) is (number >= 5)
    assert (kept.failure_kind, kept.failure) == ("AcmeProblem", ERROR.message)
    assert kept.quarantined_at == process.clock.now


def test_success_forgets_all(process):
    process.schedules.failed("web1", ERROR, 1)
    process.schedules.defer("web2", NOW)
    succeed(process, "web1")
    assert process.schedules.load() == {"web2": Schedule("web2", not_before=NOW)}


def test_a_time_the_ca_named_is_kept_beside_the_failures(process):
    process.schedules.failed("web1", ERROR, 5)
    process.schedules.defer("web1", NOW + HOUR)
    kept = process.schedules.find("web1")
    assert (kept.failures, kept.not_before) == (1, NOW + HOUR)


def test_a_released_device_is_tried_at_once(process):
    process.schedules.failed("web1", ERROR, 1)
    process.schedules.release("web1")
    assert process.schedules.find("web1") == Schedule("web1")
    process.schedules.release("web2")
    assert process.schedules.find("web2") == Schedule("web2")


WINDOW = Schedule(
    "web1",
    renewal_sha256="aa",
    renewal_start=NOW,
    renewal_end=NOW + 2 * HOUR,
    renewal_at=NOW + HOUR,
    renewal_check_at=NOW + 6 * HOUR,
)


def test_the_instant_chosen_in_a_window_is_kept_across_failures(process):
    process.schedules.keep_window(WINDOW)
    process.schedules.failed("web1", ERROR, 5)
    kept = process.schedules.find("web1")
    assert (kept.renewal_sha256, kept.renewal_at, kept.renewal_check_at) == ("aa", NOW + HOUR, NOW + 6 * HOUR)
    assert kept.failures == 1


def test_times_of_other_zones_are_the_same_instants(process):
    there = dt.timezone(dt.timedelta(hours=5, minutes=30))
    process.schedules.defer("web1", NOW.astimezone(there))
    kept = process.schedules.find("web1").not_before
    assert kept == NOW
    assert kept.utcoffset() == dt.timedelta(0)


def test_the_policy_sees_back_off_quarantine_and_the_window_of_the_certificate_it_is_for(process):
    leaf_pem = Authority().issue("web1.example.com").leaf_pem
    process.certificates.adopt("web1", "ca", leaf_pem, NOW)
    sha256 = process.certificates.current()["web1"].sha256
    process.schedules.failed("web1", ERROR, 1)

    def situation():
        view = load_view(process.journal, process.certificates, process.schedules, "web1")
        return view.situation("web1", forced=True)

    assert situation().quarantined
    assert situation().forced
    assert situation().not_before == NOW + BACK_OFF[0]
    process.schedules.keep_window(WINDOW)
    assert situation().renewal_at is None  # of another certificate
    process.schedules.keep_window(Schedule("web1", renewal_sha256=sha256, renewal_at=NOW + HOUR))
    assert situation().renewal_at == NOW + HOUR
