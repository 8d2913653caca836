# SPDX-License-Identifier: Apache-2.0
"""The screenful: what is done in which order, and what binds the former certificate again."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa

from ottr.errors import AcmeProblem, DeviceRejected, DeviceUnreachable, JournalError, VerificationError
from ottr.model import Endpoint, Facts, Outcome, SigningRequest, Step
from ottr.state.database import Database
from ottr.state.journal import State, Status
from ottr.state.schema import certificate
from ottr.state.view import load_view
from tests.orchestrator.world import World


@pytest.fixture
def world(tmp_path) -> World:
    return World(tmp_path)


def raising_at(**errors: BaseException):
    """Raise at the acts of these names (spaces for underscores), every time."""

    def happen(act: str) -> None:
        error = errors.get(act.replace(" ", "_"))
        if error is not None:
            raise error

    return happen


STEPS = ["connect", "inspect", "create_csr", "issue", "arm", "install", "verify", "disarm"]


def test_everything_comes_in_its_order(world):
    world.run()
    acts = [act for act in world.trouble.acts if act in STEPS]
    assert [act for number, act in enumerate(acts) if act not in acts[:number]] == STEPS


def test_what_cannot_be_done_twice_is_on_the_disk_before_it_is_done(world, monkeypatch):
    """The label before the key, a TXT value and the order before they are there, the install before it binds."""
    real = Database.write

    @contextmanager
    def write(database, *, durable=True):
        with real(database, durable=durable) as connection:
            yield connection
        world.trouble.acts.append("DISK" if durable else "memory")

    around = world.surroundings()
    monkeypatch.setattr(Database, "write", write)
    assert world.run(around=around).outcome is Outcome.ROTATED
    assert " ".join(act.replace(" ", "_") for act in world.trouble.acts) == (
        "memory DISK connect inspect create_csr create_csr_done memory issue DISK present issued memory "
        "DISK connect arm DISK install install_stored install_done verify disarm memory record DISK memory"
    )


def test_without_a_dead_man_timer_none_is_armed(world):
    world.reroute(dead_man_s=0)
    assert world.run().outcome is Outcome.ROTATED
    assert not {"arm", "disarm"} & set(world.trouble.acts)


def test_a_device_without_a_dead_man_timer_is_rotated_all_the_same(world):
    class Plain:
        """Only what every driver can do."""

        def __init__(self, device) -> None:
            self.inspect, self.create_csr, self.install = device.inspect, device.create_csr, device.install
            self.rollback, self.cleanup = device.rollback, device.cleanup

    real = world.connect

    @contextmanager
    def connect(target):
        with real(target) as device:
            yield Plain(device)

    world.connect = connect
    assert world.run().outcome is Outcome.ROTATED
    assert not {"arm", "disarm"} & set(world.trouble.acts)


@pytest.mark.parametrize(("port", "outcome"), [(443, Outcome.ROTATED), (8443, Outcome.ROLLED_BACK)])
def test_endpoints_that_only_the_device_knows_are_verified_too(world, port, outcome):
    world.device.endpoints = lambda: (Endpoint("192.0.2.7", port),)
    world.device.stale_ports = frozenset({8443})
    assert world.run().outcome is outcome
    assert (world.device.bound == "original") is (outcome is Outcome.ROLLED_BACK)


def test_nothing_is_installed_that_cannot_be_armed(world):
    world.trouble.happen = raising_at(arm=DeviceRejected("no at, no systemd"))
    result = world.run()
    assert result.outcome is Outcome.ROLLED_BACK
    assert "install" not in world.trouble.acts
    assert world.device.bound == "original"


@pytest.mark.parametrize("act", ["install", "install_stored", "install_done", "verify", "disarm"])
@pytest.mark.parametrize("error", [DeviceRejected("no"), VerificationError("no"), ZeroDivisionError("a bug")])
def test_whatever_fails_after_arming_the_former_certificate_is_bound_again(world, act, error):
    world.trouble.happen = raising_at(**{act: error})
    result = world.run()
    assert result.outcome is Outcome.ROLLED_BACK
    assert world.device.bound == "original"
    world.device.check_sound()


@pytest.mark.parametrize("act", ["inspect", "create_csr", "issue", "present", "issued"])
def test_what_fails_before_leaves_the_device_untouched(world, act):
    error = AcmeProblem("no") if act in ("issue", "present", "issued") else DeviceRejected("no")
    world.trouble.happen = raising_at(**{act: error})
    result = world.run()
    assert result.outcome is Outcome.FAILED
    assert not {"arm", "install", "rollback"} & set(world.trouble.acts)


@pytest.mark.parametrize("failure", [DeviceRejected("no"), ZeroDivisionError("a bug")])
def test_a_roll_back_that_fails_tells_both_errors(world, failure):
    world.trouble.happen = raising_at(verify=VerificationError("serves the old one"), rollback=failure)
    result = world.run()
    assert result.outcome is Outcome.STRANDED
    assert "serves the old one; then the former certificate could not be bound again" in result.error.message


def test_a_human_is_told_every_hint_once_and_the_commands_for_the_device(world):
    world.trouble.happen = raising_at(
        verify=VerificationError("serves the old one", hint="look at the service"),
        rollback=DeviceRejected("no", hint="show jobs id 5"),
    )
    hint = world.run().error.hint
    assert hint.startswith("look at the service; show jobs id 5; `ottr verify web1`")
    assert "`ottr resume`" in hint
    assert "`ottr rollback web1`" in hint

    same = DeviceRejected("no", hint="show jobs id 5")
    world.trouble.happen = raising_at(install=same, rollback=same)
    world.surroundings().stores.schedules.release("web1")
    assert world.run().error.hint.count("show jobs id 5") == 1


def test_a_held_session_ends_before_the_rotation_does(world):
    """Who dies with it open leaves a rotation to go on with, and with it somebody who ends the session."""
    world.device.alive = lambda: True
    around, open_then = world.surroundings(), []

    @contextmanager
    def connect(target):
        yield world.device
        open_then.append(bool(around.stores.journal.open_rotations("web1")))

    assert world.run(around=replace(around, connect=connect)).outcome is Outcome.ROTATED
    assert open_then == [True]


def test_a_journal_that_fails_only_at_the_roll_back_stops_the_run_with_the_device_put_right(world):
    around = world.surroundings()
    append = around.stores.journal.append

    def broken(record, entries, also=(), **durable):
        entry = entries[-1]
        if entry.step is Step.ROLLBACK:
            raise JournalError("disk full")
        append(record, entries, also, **durable)

    around.stores.journal.append = broken
    world.device.serves_stale = True
    with pytest.raises(JournalError):
        world.run(around=around)
    assert world.device.bound == "original"


def test_a_certificate_on_the_device_that_cannot_be_read_counts_as_none(world):
    """Factory certificates of old appliances; they must be replaced, not stop their replacement."""
    asked: list[str] = []
    inspect, issue = world.device.inspect, world.issuer.issue
    world.device.inspect = lambda: replace(inspect(), leaf_pem="-----BEGIN CERTIFICATE-----\nAAAA\n")
    world.issuer.issue = lambda request, log: asked.append(request.replaces_pem) or issue(request, log)
    result = world.run()
    assert (result.outcome, result.old_sha256) == (Outcome.ROTATED, "")
    assert asked == [""]


def test_a_device_with_no_certificate_at_all_gets_one(world):
    inspect = world.device.inspect
    world.device.inspect = lambda: Facts(inspect().bound)
    assert world.run().outcome is Outcome.ROTATED


def test_the_ca_is_told_what_the_new_certificate_replaces(world):
    asked: list[str] = []
    issue = world.issuer.issue
    world.issuer.issue = lambda request, log: asked.append(request.replaces_pem) or issue(request, log)
    before = world.device.served()
    world.run()
    assert asked == [before]


def test_a_request_that_cannot_be_read_is_never_sent(world):
    world.device.create_csr = lambda request: SigningRequest("nonsense")
    result = world.run()
    assert result.outcome is Outcome.FAILED
    assert "install" not in world.trouble.acts


def spoil(thing: object, name: str, error: Exception) -> None:
    def broken(*arguments):
        raise error

    setattr(thing, name, broken)


@pytest.mark.parametrize("name", ["before", "after"])
def test_a_bug_of_a_hook_stays_with_its_device(world, name, caplog):
    """`run` never raises for it: the other devices of the run go on."""
    spoil(world.hooks, name, ZeroDivisionError("hunter2"))
    with caplog.at_level(logging.ERROR):
        result = world.run()
    assert result.outcome is Outcome.FAILED
    assert result.error.kind == "Unexpected"
    assert result.finished is not None
    assert "hunter2" not in str(result)
    assert "ZeroDivisionError" in caplog.text
    world.device.check_sound()


def test_a_bug_while_leftover_values_are_removed_does_not_keep_a_device_from_its_rotation(world, caplog):
    world.trouble.happen = raising_at(present=AcmeProblem("dies"))
    world.run()
    world.trouble.happen = lambda act: None
    world.advance(days=1)
    spoil(world.publisher, "cleanup", ZeroDivisionError("of a library"))
    with caplog.at_level(logging.WARNING):
        assert world.run().outcome is Outcome.ROTATED
    assert "is left over" in caplog.text


def test_what_was_drained_is_not_left_so_by_a_bug_before_the_rotation(world):
    spoil(world.publisher, "cleanup", JournalError("full"))
    world.trouble.happen = raising_at(present=AcmeProblem("dies"))
    world.run()
    world.trouble.happen = lambda act: None
    world.advance(days=1)
    world.hooks.called.clear()
    with pytest.raises(JournalError):
        world.run()
    assert world.hooks.called == ["before", "after failed"]


def test_a_bug_at_the_end_of_a_session_does_not_undo_a_rotation(world):
    real = world.connect

    @contextmanager
    def connect(target):
        with real(target) as device:
            yield device
        raise RuntimeError("a bug of the driver")

    world.connect = connect
    assert world.run().outcome is Outcome.ROTATED


@pytest.mark.parametrize("error", [JournalError("disk full")])
def test_a_journal_that_fails_while_cleaning_up_stops_the_run(world, error):
    world.run(forced=True)
    world.run(forced=True)
    world.trouble.happen = raising_at(cleanup=error)
    with pytest.raises(JournalError):
        world.run(forced=True)


def test_a_lease_lost_while_cleaning_up_leaves_the_rest_to_the_new_owner(world):
    world.run(forced=True)
    world.run(forced=True)
    around = world.surroundings()

    def happen(act: str) -> None:
        if act == "cleanup done":
            around.stores.leases.break_open("device:web1")

    world.trouble.happen = happen
    result = world.run(forced=True, around=around)
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, "leased")
    world.device.check_sound()


def test_a_former_certificate_that_is_no_longer_kept_is_not_revoked(world):
    world.reroute(revoke_superseded=True)
    first = world.run()
    around = world.surroundings()

    def prune(act: str) -> None:
        if act == "record":
            with around.stores.journal._database.write() as connection:
                connection.execute(sa.delete(certificate).where(certificate.c.sha256 == first.new_sha256))

    world.trouble.happen = prune
    result = world.run(forced=True, around=around)
    assert result.outcome is Outcome.ROTATED
    assert result.warnings == ()
    assert world.issuer.revoked == []


def test_a_half_installed_rotation_is_seen_as_such_until_it_has_gone_back(world):
    """What was stopped between bind and verify is due whatever the window and the back-off say."""

    def view():
        stores = world.surroundings().stores
        return load_view(stores.journal, stores.certificates, stores.schedules)

    world.trouble.happen = raising_at(create_csr=DeviceRejected("no"))
    world.run()
    assert view().half_installed == frozenset()
    world.advance(days=1)
    world.trouble.happen = raising_at(install_done=DeviceUnreachable("gone"), rollback=DeviceUnreachable("gone"))
    world.run()
    assert view().half_installed == {"web1"}
    world.trouble.happen = raising_at(verify=VerificationError("no"))
    world.run()
    assert view().half_installed == frozenset()
    assert view().open_rotations["web1"].state is State.OPEN
    world.advance(days=1)
    world.trouble.happen = raising_at(record=JournalError("full"))
    with pytest.raises(JournalError):
        world.run()
    result = world.surroundings().stores.journal.open_rotations("web1")[0]
    assert view().half_installed == {"web1"}  # verified, but not at its end
    entries = world.surroundings().stores.journal.entries(result.id)
    assert (entries[-1].step, entries[-1].status) == (Step.VERIFY, Status.DONE)


def test_an_error_says_at_which_step(world):
    world.trouble.happen = raising_at(issue=AcmeProblem("no"))
    result = world.run()
    assert (result.step, result.rotation_id != "") == ("order", True)
