# SPDX-License-Identifier: Apache-2.0
"""One rotation and its journal: written ahead, done once, and honest about what could not be written."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import replace

import pytest

from ottr.errors import DeviceLeased, DeviceRejected, DeviceUnreachable, JournalError
from ottr.model import Endpoint, Facts, IssuedCertificate, SigningRequest, Step, TxtRecord
from ottr.orchestrator.rotation import Rotation, report
from ottr.state.journal import State, Status, device_key
from tests.orchestrator.world import World
from tests.unit.authority import Authority

BEFORE, LATER = Facts("old", "old leaf"), Facts("new", "new leaf")
CSR = SigningRequest("csr")
TXT = TxtRecord("_acme-challenge.web1.example.com", "value")


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


@pytest.fixture
def stores(world):
    return world.surroundings().stores


class Desk:
    """Rotations of one record, each as a process of its own would have it; the lease stays."""

    def __init__(self, world: World, stores) -> None:
        self.world, self.stores = world, stores
        self.seen: list[tuple[str, Step]] = []
        stores.leases.take(device_key("web1"))
        self.record = stores.journal.begin(world.target.device, world.target.route, "forced")

    def rotation(self) -> Rotation:
        record = self.stores.journal.find(self.record.id)
        return Rotation(record, self.stores.journal, self.world.clock, lambda *seen: self.seen.append(seen))

    def journal(self) -> list[tuple[Step, Status]]:
        return [(entry.step, entry.status) for entry in self.stores.journal.entries(self.record.id)]


@pytest.fixture
def desk(world, stores) -> Desk:
    return Desk(world, stores)


def failing(error: BaseException):
    def fail():
        raise error

    return fail


def never():
    pytest.fail("done twice")


def test_the_device_is_asked_for_what_was_written_down(desk, world):
    rotation = desk.rotation()
    assert rotation.request.label == desk.record.label
    assert rotation.request.dns_names == world.target.device.dns_names


def test_a_step_is_made_once_also_by_the_next_process(desk):
    rotation = desk.rotation()
    assert rotation.once(Step.CSR, SigningRequest, lambda: CSR) == CSR
    assert rotation.once(Step.CSR, SigningRequest, never) == CSR
    rotation.flush()
    assert desk.rotation().once(Step.CSR, SigningRequest, never) == CSR
    assert desk.rotation().written(Step.CSR, SigningRequest) == CSR
    assert desk.journal() == [(Step.CSR, Status.DONE)]
    assert desk.seen == [("web1", Step.CSR)]
    assert rotation.reached == "csr"


def test_what_was_never_made_is_not_written(desk):
    with pytest.raises(LookupError):
        desk.rotation().written(Step.CSR, SigningRequest)


@pytest.mark.parametrize("error", [DeviceRejected("no", hint="try"), ZeroDivisionError("x"), KeyboardInterrupt()])
def test_a_step_that_fails_is_written_and_made_again(desk, error):
    with pytest.raises(type(error)):
        desk.rotation().once(Step.CSR, SigningRequest, failing(error))
    assert desk.journal() == [(Step.CSR, Status.FAILED)]
    [entry] = desk.stores.journal.entries(desk.record.id)
    assert entry.error == report(error)
    assert desk.rotation().once(Step.CSR, SigningRequest, lambda: CSR) == CSR


def test_an_error_of_nobody_is_named_without_its_text():
    told = report(ZeroDivisionError("hunter2"))
    assert (told.kind, told.message) == ("Unexpected", "unexpected ZeroDivisionError")
    assert "hunter2" not in str(told)


def test_what_was_bound_is_looked_at_anew_until_something_is_installed(desk):
    assert desk.rotation().before(lambda: BEFORE) == BEFORE
    assert desk.rotation().before(lambda: LATER) == LATER  # somebody rotated by hand meanwhile


def test_while_an_install_is_half_done_what_was_bound_before_it_counts(desk):
    rotation = desk.rotation()
    rotation.before(lambda: BEFORE)
    rotation.install(lambda: None)
    assert rotation.before(never) == BEFORE
    assert desk.rotation().before(never) == BEFORE


def test_an_install_that_only_began_counts_as_half_done(desk):
    rotation = desk.rotation()
    rotation.before(lambda: BEFORE)
    with pytest.raises(DeviceRejected):
        rotation.install(failing(DeviceRejected("no")))
    assert desk.journal()[1:] == [(Step.INSTALL, Status.STARTED), (Step.INSTALL, Status.FAILED)]
    assert desk.rotation().before(never) == BEFORE


def test_after_a_roll_back_what_is_bound_is_looked_at_anew(desk):
    rotation = desk.rotation()
    rotation.before(lambda: BEFORE)
    rotation.install(lambda: None)
    rotation.roll_back(lambda: None)
    assert rotation.rolled_back
    assert desk.rotation().before(lambda: LATER) == LATER


def test_after_a_roll_back_that_failed_the_former_one_still_counts(desk):
    rotation = desk.rotation()
    rotation.before(lambda: BEFORE)
    rotation.install(lambda: None)
    with pytest.raises(DeviceRejected):
        rotation.roll_back(failing(DeviceRejected("no")))
    assert not rotation.rolled_back
    assert desk.journal()[-2:] == [(Step.ROLLBACK, Status.STARTED), (Step.ROLLBACK, Status.FAILED)]
    assert desk.rotation().before(never) == BEFORE


@pytest.fixture
def issued() -> IssuedCertificate:
    made = Authority().issue("web1.example.com")
    return IssuedCertificate(made.leaf_pem, made.chain_pem)


def facts(desk: Desk):
    [one] = desk.stores.certificates.of_device("web1")
    return one.issued_at, one.installed_at, one.bound_at, one.served_at


def test_the_four_facts_become_true_one_after_the_other(desk, world, issued):
    rotation, now = desk.rotation(), world.now
    assert rotation.order(lambda: issued) == issued
    world.now += dt.timedelta(seconds=5)  # what is written later is as old as it is
    rotation.leave(DeviceUnreachable("gone"))
    assert facts(desk) == (now, None, None, None)
    world.now = now
    assert desk.rotation().order(never) == issued
    rotation.install(lambda: None)
    world.now += dt.timedelta(seconds=5)
    rotation.flush()
    assert facts(desk) == (now, now, now, None)
    world.now = now
    endpoints = [Endpoint("192.0.2.1"), Endpoint("192.0.2.2")]
    rotation.verify(issued, endpoints, lambda: None)
    assert facts(desk) == (now, now, now, now)
    assert {one.endpoint for one in desk.stores.certificates.observations("web1")} == {"192.0.2.1:443", "192.0.2.2:443"}
    rotation.close()
    record = desk.stores.journal.find(desk.record.id)
    assert (record.state, record.finished_at) == (State.ROTATED, now)
    assert [step for _, step in desk.seen] == [Step.ORDER, Step.INSTALL, Step.VERIFY, Step.RECORD]


def test_what_is_not_seen_to_be_served_is_not_written_as_served(desk, world, issued):
    rotation = desk.rotation()
    rotation.order(lambda: issued)
    rotation.install(lambda: None)
    with pytest.raises(DeviceRejected):
        rotation.verify(issued, [Endpoint("192.0.2.1")], failing(DeviceRejected("no")))
    assert facts(desk) == (world.now, world.now, world.now, None)
    assert desk.stores.certificates.observations() == []
    rotation.roll_back(lambda: None)
    assert facts(desk) == (world.now, world.now, None, None)


def test_an_order_is_remembered_by_its_url_and_its_records(desk):
    rotation = desk.rotation()
    assert rotation.order_url() == ""
    rotation.once(Step.CSR, SigningRequest, lambda: CSR)
    rotation.ordered("https://ca.test/order/1")
    assert rotation.order_url() == "https://ca.test/order/1"
    rotation.presenting(TXT)  # writes down all before it
    assert desk.rotation().order_url() == "https://ca.test/order/1"
    assert desk.rotation().written(Step.CSR, SigningRequest) == CSR
    assert desk.stores.journal.leftover_records("web1") == [(desk.record.id, TXT)]
    rotation.removed(TXT)
    rotation.finalizing()  # of the order nothing is left to write
    assert desk.stores.journal.leftover_records("web1") == [(desk.record.id, TXT)]
    rotation.install(lambda: None)
    assert desk.stores.journal.leftover_records("web1") == []


def test_an_order_that_needs_no_proof_is_written_down_before_it_is_finalized(desk):
    rotation = desk.rotation()
    rotation.ordered("https://ca.test/order/1")
    rotation.finalizing()
    assert desk.rotation().order_url() == "https://ca.test/order/1"


class BrokenFrom:
    """A journal whose writes fail from the n-th on, as on a full disk."""

    def __init__(self, stores, good: int, error: Exception | None = None) -> None:
        self.left, self.error = good, error or JournalError("disk full")
        self.append, stores.journal.append = stores.journal.append, self.write

    def write(self, *arguments, **durable) -> None:
        self.left -= 1
        if self.left < 0:
            raise self.error
        self.append(*arguments, **durable)


@pytest.mark.parametrize("good", [0, 1])
@pytest.mark.parametrize("error", [JournalError("disk full"), DeviceLeased("lost")])
def test_the_device_goes_back_also_when_that_cannot_be_written(desk, good, error, caplog):
    rotation, done = desk.rotation(), []
    BrokenFrom(desk.stores, good, error)
    with caplog.at_level(logging.WARNING), pytest.raises(type(error)):
        rotation.roll_back(lambda: done.append(True))
    assert done
    assert rotation.rolled_back
    assert "the journal cannot be written" in caplog.text


def test_a_roll_back_written_only_at_its_end_still_says_that_the_journal_failed(desk):
    rotation = desk.rotation()
    append, calls = desk.stores.journal.append, []

    def first_fails(*arguments, **durable) -> None:
        calls.append(arguments)
        if len(calls) == 1:
            raise JournalError("locked")
        append(*arguments, **durable)

    desk.stores.journal.append = first_fails
    with pytest.raises(JournalError, match="locked"):
        rotation.roll_back(lambda: None)
    assert desk.journal() == [(Step.ROLLBACK, Status.STARTED), (Step.ROLLBACK, Status.DONE)]


def test_a_failure_that_cannot_be_written_is_still_the_failure(desk):
    rotation = desk.rotation()
    BrokenFrom(desk.stores, 0)
    with pytest.raises(DeviceRejected):
        rotation.once(Step.CSR, SigningRequest, failing(DeviceRejected("no")))


def test_an_install_that_cannot_be_written_ahead_is_not_begun(desk):
    rotation = desk.rotation()
    BrokenFrom(desk.stores, 0)
    with pytest.raises(JournalError):
        rotation.install(never)


def test_an_attempt_needs_the_lease(desk, world):
    desk.stores.leases.give_back(device_key("web1"))
    rotation = desk.rotation()
    rotation.once(Step.CSR, SigningRequest, lambda: SigningRequest("x"))
    with pytest.raises(DeviceLeased):
        rotation.flush()
    assert desk.stores.journal.find(desk.record.id) == replace(desk.record, attempts=0)
