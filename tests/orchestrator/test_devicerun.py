# SPDX-License-Identifier: Apache-2.0
"""What one run does with one device, in a world that keeps its state when the orchestrator dies."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from ottr.errors import (
    AcmeProblem,
    AuthenticationFailed,
    DeviceBusy,
    DeviceRejected,
    DeviceUnreachable,
    DnsError,
    HookFailed,
    JournalError,
    KeyLost,
    LeaseLost,
    NotActive,
    RateLimited,
    VerificationError,
)
from ottr.model import Outcome, Step
from ottr.play.devices import is_stranded
from ottr.state.journal import State, Status
from tests.orchestrator.world import NOW, Killed, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def failing(act: str, error: BaseException, times: int = 1):
    """Raise at an act, so many times."""
    left = [times]

    def happen(now: str) -> None:
        if now == act and left[0]:
            left[0] -= 1
            raise error

    return happen


def journal(world: World):
    return world.surroundings().stores.journal


def test_a_rotation_ends_with_the_new_certificate_served_recorded_and_written_down(world):
    result = world.run()
    assert result.outcome is Outcome.ROTATED
    assert result.error is None
    assert result.reason == "never_issued"
    assert world.recorder.recorded == {"web1": result.new_sha256}
    assert world.device.bound.startswith("ottr-")
    assert world.device.armed == ""
    [record] = journal(world).history("web1")
    assert record.state is State.ROTATED
    [facts] = world.surroundings().stores.certificates.of_device("web1")
    assert None not in (facts.issued_at, facts.installed_at, facts.bound_at, facts.served_at)
    assert world.hooks.called == ["before", "after rotated"]


def test_a_device_that_has_been_rotated_is_not_due(world):
    world.run()
    assert world.run().outcome is Outcome.NOT_DUE
    assert world.issuer.issued == 1


def test_the_lease_is_asked_again_not_the_plan(world):
    """Two runs planned the same device; the second finds it done once it has the lease."""
    world.run()
    result = world.run()
    assert (result.outcome, result.reason) == (Outcome.NOT_DUE, "not_due")


def test_a_device_somebody_else_works_on_is_skipped_and_says_who(world):
    other = world.surroundings()
    other.stores.leases.take("device:web1")
    result = world.run()
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, "leased")
    assert "process 1 on host" in result.error.message
    assert world.trouble.acts == []


def test_a_member_of_a_busy_ha_group_is_skipped(world):
    world.surroundings().stores.leases.take("ha_group:pair")
    from dataclasses import replace

    world.target = replace(world.target, device=replace(world.target.device, ha_group="pair"))
    assert world.run().outcome is Outcome.SKIPPED


def test_a_failed_verification_puts_the_former_certificate_back(world):
    world.device.serves_stale = True
    result = world.run()
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.error.kind == "VerificationError"
    assert world.device.bound == "original"
    [facts] = world.surroundings().stores.certificates.of_device("web1")
    assert facts.installed_at
    assert facts.bound_at is None
    assert world.recorder.recorded == {}


def test_after_a_roll_back_the_same_certificate_is_tried_again(world):
    world.device.serves_stale = True
    world.run()
    world.device.serves_stale = False
    world.advance(days=1)
    assert world.run().outcome is Outcome.ROTATED
    assert world.issuer.issued == 1


def test_a_certificate_rolled_back_too_often_is_abandoned_for_a_new_one(world):
    world.device.serves_stale = True
    for _ in range(3):
        world.run()
        world.advance(days=1, hours=1)
    assert world.issuer.issued == 1
    world.run()
    assert world.issuer.issued == 2
    assert [record.state for record in journal(world).history("web1")] == [State.ABANDONED, State.OPEN]


def test_a_busy_device_is_no_fault_of_the_certificate(world):
    """Held overnight by an administrator: it gets the same certificate in the morning, not a new one each hour."""

    def happen(act: str) -> None:
        if act == "install":
            raise DeviceBusy("admin holds the commit lock")

    world.trouble.happen = happen
    for _ in range(5):
        assert world.run().error.kind == "DeviceBusy"
        world.advance(hours=1)
    world.trouble.happen = lambda act: None
    assert world.run().outcome is Outcome.ROTATED
    assert world.issuer.issued == 1


def test_a_login_refused_before_anything_was_bound_strands_nothing(world):
    def happen(act: str) -> None:
        if act == "connect" and "issued" in world.trouble.acts:
            raise AuthenticationFailed("the login server is down")

    world.trouble.happen = happen
    result = world.run()
    assert (result.outcome, result.error.kind) == (Outcome.FAILED, "AuthenticationFailed")
    assert world.device.bound == "original"


def said(world: World) -> list[tuple[str, str, str]]:
    """What the journal has of failures: what `ottr history` shows."""
    [record] = journal(world).history("web1")
    entries = journal(world).entries(record.id)
    return [(entry.step.value, entry.status.value, entry.error.kind) for entry in entries if entry.error]


def test_the_journal_has_every_run_that_could_not_log_in(world):
    world.trouble.happen = failing("connect", AuthenticationFailed("no"))
    world.run()
    world.advance(days=1)
    for _ in range(3):  # one line for what is the same, and how often
        world.trouble.happen = failing("connect", DeviceUnreachable("gone"), 3)
        assert world.run().outcome is Outcome.UNREACHABLE
    assert said(world) == [
        ("preflight", "failed", "AuthenticationFailed"),
        ("preflight", "failed", "DeviceUnreachable"),
    ]
    [record] = journal(world).history("web1")
    assert record.attempts == 4
    world.trouble.happen = failing("issue", DnsError("no server"))
    world.run()
    assert said(world)[2:] == [("order", "failed", "DnsError")]


def test_a_standby_has_not_failed(world):
    world.trouble.happen = failing("connect", NotActive("standby"))
    assert world.run().outcome is Outcome.SKIPPED
    assert said(world) == []


@pytest.mark.parametrize("act", ["issue", "verify"])
def test_what_the_journal_could_not_be_told_at_first_is_told_when_the_run_gives_up(world, act):
    around, locked = world.surroundings(), [JournalError("locked")]
    append = around.stores.journal.append

    def append_later(record, entries, also=(), **durable) -> None:
        if locked and [entry for entry in entries if entry.error]:
            raise locked.pop()
        append(record, entries, also, **durable)

    around.stores.journal.append = append_later
    world.trouble.happen = failing(act, DnsError("no server"))
    assert world.run(around=around).error.kind == "DnsError"
    assert locked == []
    assert said(world) == [({"issue": "order"}.get(act, act), "failed", "DnsError")]
    [record] = journal(world).history("web1")
    assert (record.attempts, journal(world).entries(record.id)[0].step) == (1, Step.PREFLIGHT)


def test_a_bug_in_what_is_done_just_before_the_install_is_no_failed_order(world):
    world.trouble.happen = failing("arm", ZeroDivisionError())
    assert world.run().outcome is Outcome.ROLLED_BACK
    assert said(world) == [("install", "failed", "Unexpected")]


def strand(world: World, around=None) -> None:
    """The verification fails, and from then on every login."""

    def happen(act: str) -> None:
        if act == "verify":
            world.trouble.happen = refuse
            raise VerificationError("served is another one")

    def refuse(act: str) -> None:
        if act == "connect":
            raise AuthenticationFailed("no")

    world.trouble.happen = happen
    assert world.run(around=around).outcome is Outcome.STRANDED


def test_a_stranded_device_stays_so_until_something_is_done_to_it(world):
    strand(world)
    assert said(world) == [("verify", "failed", "VerificationError"), ("rollback", "failed", "RollbackFailed")]
    world.advance(days=2)
    assert world.run().error.kind == "AuthenticationFailed"
    assert said(world)[2:] == [("preflight", "failed", "AuthenticationFailed")]
    [record] = journal(world).history("web1")
    assert is_stranded(journal(world), record)
    world.trouble.happen = lambda act: None
    world.advance(days=2)
    assert world.run().outcome is Outcome.ROTATED


def test_a_device_is_stranded_also_when_its_lease_is_lost_by_then(world, caplog):
    around = world.surroundings()
    append = around.stores.journal.append

    def append_unless_last(record, entries, also=(), **durable) -> None:
        if [entry for entry in entries if entry.step is Step.ROLLBACK]:
            raise LeaseLost("another one has it")
        append(record, entries, also, **durable)

    around.stores.journal.append = append_unless_last
    strand(world, around)
    assert world.hooks.called == ["before", "after stranded"]
    assert "web1: another one has it; before that: served is another one; then" in caplog.text


def test_why_a_device_failed_is_logged_where_the_lease_is_lost_by_then(world, caplog):
    around = world.surroundings()

    def happen(act: str) -> None:
        if act == "connect":
            around.stores.leases.break_open("device:web1")
            raise AuthenticationFailed("no such user")

    world.trouble.happen = happen
    result = world.run(around=around)
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, "leased")
    assert "no such user" in caplog.text


def test_a_device_that_went_back_before_is_not_stranded_by_a_later_refusal(world):
    world.device.serves_stale = True
    assert world.run().outcome is Outcome.ROLLED_BACK
    world.advance(days=1)

    def happen(act: str) -> None:
        if act in ("arm", "rollback"):
            raise DeviceRejected("no")

    world.trouble.happen = happen
    assert world.run().outcome is Outcome.FAILED


def test_a_device_too_busy_to_go_back_has_its_timer(world):
    def happen(act: str) -> None:
        if act == "install done":
            raise DeviceUnreachable("no answer in time")
        if act == "rollback":
            raise DeviceBusy("another change is going on")

    world.trouble.happen = happen
    assert world.run().outcome is Outcome.FAILED
    world.device.fire()
    assert world.device.bound == "original"


def test_a_plain_bug_in_the_middle_rolls_back_too(world):
    world.trouble.happen = failing("install done", ZeroDivisionError())
    result = world.run()
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.error.kind == "Unexpected"
    assert world.device.bound == "original"


def test_a_roll_back_that_fails_strands_the_device(world):
    def happen(act: str) -> None:
        if act in ("verify", "rollback"):
            raise DeviceRejected("no")

    world.trouble.happen = happen
    result = world.run()
    assert result.outcome is Outcome.STRANDED
    assert "ottr rollback" in result.error.hint


def test_an_unreachable_device_keeps_its_certificate_and_gets_the_same_one_later(world):
    connects = iter([None, DeviceUnreachable("gone")])

    def happen(act: str) -> None:
        if act == "connect":
            error = next(connects, DeviceUnreachable("gone"))
            if error:
                raise error

    world.trouble.happen = happen
    assert world.run().outcome is Outcome.UNREACHABLE
    world.trouble.happen = lambda act: None
    result = world.run()
    assert (result.outcome, result.reason) == (Outcome.ROTATED, "unfinished")
    assert world.issuer.issued == 1


def test_a_device_lost_between_bind_and_verify_is_unreachable_not_stranded(world):
    def happen(act: str) -> None:
        if act == "verify" or (act == "connect" and "verify" in world.trouble.acts):
            raise DeviceUnreachable("gone")

    world.trouble.happen = happen
    assert world.run().outcome is Outcome.UNREACHABLE
    world.device.fire()
    assert world.device.bound == "original"
    world.trouble.happen = lambda act: None
    assert world.run().outcome is Outcome.ROTATED
    assert world.issuer.issued == 1


def test_without_a_dead_man_a_device_lost_in_mid_install_needs_a_human(world):
    """It may serve what was never verified, and nobody can tell it to go back."""
    world.reroute(dead_man_s=0)

    def happen(act: str) -> None:
        if act == "verify" or (act == "connect" and "verify" in world.trouble.acts):
            raise DeviceUnreachable("gone")

    world.trouble.happen = happen
    assert world.run().outcome is Outcome.STRANDED
    world.trouble.happen = lambda act: None
    world.surroundings().stores.schedules.release("web1")
    assert world.run().outcome is Outcome.ROTATED
    assert world.issuer.issued == 1


def test_a_lost_key_abandons_the_rotation_and_the_next_run_begins_anew(world):
    world.trouble.happen = failing("install", KeyLost())
    assert world.run().error.kind == "KeyLost"
    world.advance(days=1)
    assert world.run().outcome is Outcome.ROTATED
    assert world.issuer.issued == 2


def test_changed_names_abandon_an_open_rotation(world):
    from dataclasses import replace

    world.trouble.happen = failing("present", AcmeProblem("no"))
    world.run()
    world.advance(days=1)
    world.target = replace(world.target, device=replace(world.target.device, dns_names=("new.example.com",)))
    assert world.run().outcome is Outcome.ROTATED
    assert [record.state for record in journal(world).history("web1")] == [State.ABANDONED, State.ROTATED]


def test_a_certificate_that_waited_past_its_own_renewal_is_abandoned(world):
    world.trouble.happen = failing("install", DeviceRejected("no"))
    world.run()
    world.advance(days=80)
    world.run()
    assert world.issuer.issued == 2


def test_a_rate_limit_defers_the_device_until_the_time_the_ca_named(world):
    until = NOW + dt.timedelta(hours=5)
    world.trouble.happen = failing("issue", RateLimited("slow down", retry_at=until))
    assert world.run().outcome is Outcome.DEFERRED
    result = world.run()
    assert (result.outcome, result.reason) == (Outcome.NOT_DUE, "deferred")
    world.advance(hours=6)
    assert world.run().outcome is Outcome.ROTATED


def test_a_rate_limit_without_a_time_is_tried_by_the_next_run(world):
    world.trouble.happen = failing("issue", RateLimited("slow down"))
    assert world.run().outcome is Outcome.DEFERRED
    assert world.run().outcome is Outcome.ROTATED


def test_permanent_failures_back_off_and_end_in_quarantine(world):
    world.trouble.happen = failing("issue", AcmeProblem("no such name"), times=99)
    assert world.run().outcome is Outcome.FAILED
    assert world.run().reason == "deferred"
    for _ in range(4):
        world.advance(days=2)
        world.run()
    world.advance(days=2)
    assert world.run().reason == "quarantined"
    world.surroundings().stores.schedules.release("web1")
    world.trouble.happen = lambda act: None
    assert world.run().outcome is Outcome.ROTATED


def test_a_failing_hook_leaves_the_device_alone(world):
    world.hooks.error = HookFailed("drain failed")
    result = world.run()
    assert (result.outcome, result.error.kind) == (Outcome.FAILED, "HookFailed")
    assert world.trouble.acts == []
    assert world.hooks.called == ["before", "after failed"]


def test_warnings_do_not_change_the_outcome(world):
    world.hooks.warning = "undrain failed"
    world.recorder.warning = "read only"
    result = world.run()
    assert result.outcome is Outcome.ROTATED
    assert result.warnings == ("read only", "undrain failed")


def test_the_previous_generation_stays_and_older_ones_go(world):
    labels = []
    for _ in range(3):
        world.run(forced=True)
        labels.append(world.device.bound)
    assert set(world.device.keys) == {"original", *labels[1:]}


def test_a_failed_cleanup_is_a_warning_and_is_tried_again(world):
    world.run(forced=True)
    world.run(forced=True)
    world.trouble.happen = failing("cleanup", DeviceRejected("busy"))
    result = world.run(forced=True)
    assert result.outcome is Outcome.ROTATED
    assert "busy" in result.warnings[0]
    world.run(forced=True)
    assert len(world.device.keys) == 3


def test_the_superseded_certificate_is_revoked_where_the_route_asks(world):
    world.reroute(revoke_superseded=True)
    world.run()
    first = world.device.served()
    world.run(forced=True)
    assert world.issuer.revoked == [first]
    [old, _] = world.surroundings().stores.certificates.of_device("web1")
    assert old.revoked_at


def test_a_revocation_that_fails_is_a_warning(world):
    world.reroute(revoke_superseded=True)
    world.run()
    world.trouble.happen = failing("revoke", AcmeProblem("not now"))
    result = world.run(forced=True)
    assert result.outcome is Outcome.ROTATED
    assert "not now" in result.warnings[0]


def test_a_good_certificate_found_on_the_device_is_adopted_not_replaced(world, tmp_path):
    """A lost database must not rotate a whole fleet."""
    world.run()
    served = world.device.served()
    world.url = type(world.url)(f"sqlite:///{tmp_path}/another.db")
    result = world.run()
    assert (result.outcome, world.device.served()) == (Outcome.NOT_DUE, served)
    assert world.run().reason == "not_due"
    assert [record.state for record in journal(world).history("web1")] == [State.ABANDONED]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda world: world.advance(days=80),
        lambda world: setattr(world, "issuer_names", ("CN=Another CA",)),
        lambda world: setattr(world.device, "serves_stale", True),
    ],
)
def test_a_certificate_that_is_not_good_is_not_adopted(world, tmp_path, spoil):
    world.run()
    world.url = type(world.url)(f"sqlite:///{tmp_path}/another.db")
    spoil(world)
    world.run()
    assert world.issuer.issued == 2


def test_records_of_a_dead_run_are_removed_by_the_next_one(world):
    world.trouble.happen = failing("present", Killed())
    with pytest.raises(Killed):
        world.run()
    world.trouble.happen = lambda act: None
    assert world.run().outcome is Outcome.ROTATED
    assert [record.name for record in world.publisher.cleaned] == ["_acme-challenge.web1.example.com"]
    assert journal(world).leftover_records("web1") == []


def test_a_record_that_cannot_be_removed_does_not_stop_the_rotation(world):
    world.trouble.happen = failing("present", Killed())
    with pytest.raises(Killed):
        world.run()
    world.trouble.happen = lambda act: None
    world.publisher.error = DnsError("refused")
    assert world.run().outcome is Outcome.ROTATED


def test_a_device_that_serves_a_certificate_for_another_key_is_never_touched(world):
    from ottr.model import IssuedCertificate

    other = World(Path(str(world.url.reveal()).removeprefix("sqlite:///")).parent / "other")
    other.run()
    world.issuer._sign = lambda request: IssuedCertificate(other.device.served(), "")
    result = world.run()
    assert (result.outcome, result.error.kind) == (Outcome.FAILED, "WrongCertificate")
    assert "install" not in world.trouble.acts


def test_a_journal_that_fails_in_mid_install_rolls_the_device_back_and_stops_the_run(world):
    around = world.surroundings()
    append = around.stores.journal.append

    def broken(record, entries, also=(), **durable):
        installed = [entry for entry in entries if entry.step is Step.INSTALL and entry.status is Status.DONE]
        if installed or (entries and entries[-1].step is Step.ROLLBACK):
            raise JournalError("disk full")
        append(record, entries, also, **durable)

    around.stores.journal.append = broken
    with pytest.raises(JournalError):
        world.run(around=around)
    assert world.device.bound == "original"
    assert world.hooks.called == ["before", "after failed"]


def test_a_bug_after_the_verification_is_a_warning(world):
    world.trouble.happen = failing("record", ZeroDivisionError())
    result = world.run()
    assert result.outcome is Outcome.ROTATED
    assert result.warnings == ("unexpected ZeroDivisionError after the rotation; see the log",)
    assert not journal(world).open_rotations()


def test_a_lost_lease_leaves_the_device_to_its_new_owner(world):
    around = world.surroundings()

    def happen(act: str) -> None:
        if act == "install done":
            around.stores.leases.break_open("device:web1")
            world.surroundings().stores.leases.take("device:web1")

    world.trouble.happen = happen
    result = world.run(around=around)
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, "leased")
    assert world.device.bound != "original"
    assert world.hooks.called == ["before"]  # the new owner has drained it again, and is not through


def test_who_wakes_up_without_the_lease_takes_nothing_back(world):
    """Suspended for minutes while it verifies: another one has ended the rotation well meanwhile."""
    late = world.surroundings()

    def happen(act: str) -> None:
        if act == "verify":
            world.trouble.happen = lambda _: None
            world.advance(minutes=3)
            assert world.run().outcome is Outcome.ROTATED
            raise VerificationError("not seen in time")

    world.trouble.happen = happen
    result = world.run(around=late)
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, "leased")
    assert world.device.bound != "original"
    world.device.check_sound()


def test_a_lease_lost_before_a_step_failed_is_what_is_told(world):
    late = world.surroundings()

    def happen(act: str) -> None:
        if act == "install":
            world.trouble.happen = lambda _: None
            world.advance(minutes=3)
            assert world.run().outcome is Outcome.ROTATED
            raise DeviceRejected("no")

    world.trouble.happen = happen
    assert world.run(around=late).reason == "leased"
    assert world.device.bound != "original"


class KillAt:
    """SIGKILL at the n-th act or journal write; the lease of the dead runs out."""

    def __init__(self, world: World, at: int) -> None:
        self.world = world
        self.left = at

    def count(self, *args: object) -> None:
        self.left -= 1
        if self.left <= 0:  # the dead do nothing any more
            raise Killed

    def run(self) -> bool:
        """Tell whether the run was killed."""
        around = self.world.surroundings()
        for name in ("append", "update", "begin", "removed"):
            self._wrap(around.stores.journal, name)
        self._wrap(around.stores.leases, "give_back")
        self.world.trouble.happen = self.count
        try:
            self.world.run(forced=True, around=around)
        except Killed:
            return True
        finally:
            self.world.trouble.happen = lambda act: None
        return False

    def _wrap(self, subject: object, name: str) -> None:
        real = getattr(subject, name)

        def around_it(*args, **kwargs):
            self.count()
            value = real(*args, **kwargs)
            self.count()
            return value

        setattr(subject, name, around_it)


def test_killed_anywhere_the_next_run_ends_in_the_same_state(tmp_path):
    """Before and after every journal write and every act on device and CA: one certificate, nothing left over."""
    killed = 0
    for at in range(1, 500):
        world = World(tmp_path / str(at))
        if not KillAt(world, at).run():
            break
        killed += 1
        world.device.check_sound()
        world.advance(minutes=3)
        result = world.run()
        if result.outcome is Outcome.NOT_DUE:  # killed after the rotation was closed
            assert result.reason == "not_due"
        else:
            assert result.outcome is Outcome.ROTATED, (at, result)
        world.device.check_sound()
        assert world.issuer.issued == 1
        assert set(world.device.keys) == {"original", world.device.bound}
        assert world.device.armed == ""
        assert world.recorder.recorded
        assert journal(world).leftover_records("web1") == []
        assert not journal(world).open_rotations()
    assert killed > 25
