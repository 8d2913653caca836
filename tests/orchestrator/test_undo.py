# SPDX-License-Identifier: Apache-2.0
"""By hand: back to the former certificate, give a rotation up, list and remove orphans."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from ottr import x509
from ottr.errors import (
    DeviceLeased,
    DeviceRejected,
    DeviceUnreachable,
    DnsError,
    OttrError,
    RotationError,
    UnsupportedDevice,
)
from ottr.model import Outcome
from ottr.orchestrator import undo
from ottr.policy import Reason
from ottr.state.journal import State
from tests.orchestrator.world import Killed, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def roll_back(world: World):
    world.advance(minutes=3)
    return undo.roll_back(world.target, world.surroundings())


def abandon(world: World):
    world.advance(minutes=3)
    return undo.abandon(world.target, world.surroundings())


def orphans(world: World, *, remove: bool = False) -> tuple[str, ...]:
    world.advance(minutes=3)
    return undo.find_orphans(world.target, world.surroundings(), remove=remove)


def stop_at(world: World, act: str) -> None:
    """A forced rotation is killed at an act; the dead do nothing any more."""

    def happen(now: str) -> None:
        if now == act or killed:
            killed.append(now)
            raise Killed

    killed: list[str] = []
    world.trouble.happen = happen
    with pytest.raises(Killed):
        world.run(forced=True)
    world.trouble.happen = lambda act: None


def fail_at(world: World, act: str, error: OttrError) -> None:
    def happen(now: str) -> None:
        if now == act:
            raise error

    world.trouble.happen = happen


def states(world: World) -> list[State]:
    return [record.state for record in world.surroundings().stores.journal.history("web1")]


def current(world: World):
    return world.surroundings().stores.certificates.current().get("web1")


def test_a_roll_back_binds_the_former_certificate_sees_it_served_and_makes_it_the_current_one(world):
    world.run()
    former = world.device.bound
    world.run(forced=True)
    result = roll_back(world)
    leaf = x509.parse_certificate(world.device.leaves[former])
    assert world.device.bound == former
    assert (result.outcome, result.reason, result.step) == (Outcome.ROLLED_BACK, "asked", "rollback")
    assert (result.new_sha256, result.serial, result.not_after) == (leaf.sha256, leaf.serial, leaf.not_after)
    assert result.warnings == ()
    assert (current(world).sha256, current(world).ca) == (leaf.sha256, "ca")
    assert states(world) == [State.ROTATED, State.ABANDONED]
    assert world.recorder.recorded == {"web1": leaf.sha256}


def test_an_inventory_that_cannot_be_written_does_not_undo_a_roll_back(world):
    world.run()
    world.run(forced=True)
    world.recorder.warning = "hosts.yml is read-only"
    result = roll_back(world)
    assert (result.outcome, result.warnings) == (Outcome.ROLLED_BACK, ("hosts.yml is read-only",))


def test_a_device_that_was_rolled_back_is_left_alone_by_the_next_run(world):
    world.run()
    world.run(forced=True)
    roll_back(world)
    result = world.run()
    assert (result.outcome, result.reason) == (Outcome.NOT_DUE, Reason.NOT_DUE)


def test_a_second_roll_back_goes_one_further(world):
    world.run()
    world.run(forced=True)
    roll_back(world)
    roll_back(world)
    assert world.device.bound == "original"
    with pytest.raises(RotationError, match="no rotation to go back from"):
        roll_back(world)


def test_a_self_signed_certificate_is_put_back_but_stays_due(world):
    world.run()
    result = roll_back(world)
    assert world.device.bound == "original"
    assert result.new_sha256 == x509.parse_certificate(world.device.served()).sha256
    assert "self-signed" in result.warnings[0]
    assert current(world) is None
    assert world.run().reason == Reason.NEVER_ISSUED


def test_a_former_certificate_of_another_ca_is_not_taken_for_one_of_the_routes(world, tmp_path):
    """What was on the device before Ottr is judged by the name of its issuer."""
    other = World(tmp_path / "other")
    other.run()
    world.device.leaves["original"] = other.device.served()
    world.device.keys["original"] = other.device.keys[other.device.bound]
    world.run(forced=True)
    roll_back(world)
    assert current(world).ca == ""
    world.issuer_names = ("CN=Another CA",)
    assert world.run().reason == Reason.ISSUER_CHANGED


@pytest.mark.parametrize("act", ["verify", "record"])
def test_a_rotation_without_its_end_is_rolled_back_and_does_not_go_on(world, act):
    """Nobody who goes back by hand wants the next timer to bind it again."""
    world.run()
    former = world.device.bound
    stop_at(world, act)
    assert world.device.bound != former
    world.trouble.happen = lambda act: None
    assert roll_back(world).outcome is Outcome.ROLLED_BACK
    assert world.device.bound == former
    assert states(world) == [State.ROTATED, State.ABANDONED]
    assert world.run().outcome is Outcome.NOT_DUE
    assert world.device.bound == former


def test_an_open_rotation_that_bound_nothing_is_passed_over_and_given_up(world):
    world.run()
    world.run(forced=True)
    stop_at(world, "create_csr done")
    roll_back(world)
    assert states(world) == [State.ROTATED, State.ABANDONED, State.ABANDONED]


def test_a_roll_back_says_when_the_device_does_not_serve_what_is_bound(world):
    world.run()
    former = world.device.bound
    world.run(forced=True)
    world.device.serves_stale = True
    result = roll_back(world)
    assert result.outcome is Outcome.ROLLED_BACK
    assert result.new_sha256 == ""
    assert result.warnings == ("the former certificate is bound again, but it serves something else",)
    assert world.device.bound == former
    assert current(world) is None


def test_a_roll_back_to_nothing_says_so(world):
    world.device.leaves["original"] = ""
    world.run()
    result = roll_back(world)
    assert world.device.bound == "original"
    assert "there was no certificate before" in result.warnings[0]


def test_without_a_rotation_there_is_nothing_to_go_back_from(world):
    with pytest.raises(RotationError, match="web1 has no rotation to go back from") as caught:
        roll_back(world)
    assert "ottr history web1" in caught.value.hint
    assert "connect" not in world.trouble.acts


def test_a_roll_back_that_the_device_refuses_changes_nothing_in_the_state(world):
    world.run()
    fail_at(world, "rollback", DeviceRejected("no"))
    with pytest.raises(DeviceRejected):
        roll_back(world)
    assert states(world) == [State.ROTATED]
    world.trouble.happen = lambda act: None
    assert roll_back(world).outcome is Outcome.ROLLED_BACK


@pytest.mark.parametrize("act", [roll_back, abandon, orphans])
@pytest.mark.parametrize("key", ["device:web1", "ha_group:pair"])
def test_nothing_is_done_by_hand_while_another_run_works_on_the_device_or_its_ha_group(world, act, key):
    world.target = replace(world.target, device=replace(world.target.device, ha_group="pair"))
    world.run()
    world.advance(minutes=3)
    world.now, now = world.now.replace(year=2027), world.now
    world.surroundings().stores.leases.take(key)
    world.now = now
    world.trouble.acts.clear()
    with pytest.raises(DeviceLeased):
        act(world)
    assert world.trouble.acts == []


def test_to_abandon_takes_the_objects_off_the_device_and_the_values_out_of_the_zones(world):
    stop_at(world, "present")
    assert len(world.device.keys) == 2
    result = abandon(world)
    assert (result.outcome, result.reason, result.warnings) == (Outcome.SKIPPED, "abandoned", ())
    assert set(world.device.keys) == {"original"}
    assert [record.name for record in world.publisher.cleaned] == ["_acme-challenge.web1.example.com"]
    [record] = world.surroundings().stores.journal.history("web1")
    assert (record.id, record.state, record.cleaned) == (result.rotation_id, State.ABANDONED, True)
    assert record.finished_at == world.now


def test_a_value_that_cannot_be_removed_now_is_left_to_the_next_run(world):
    stop_at(world, "present")
    world.publisher.error = DnsError("refused")
    assert abandon(world).outcome is Outcome.SKIPPED
    assert len(world.surroundings().stores.journal.leftover_records("web1")) == 1


def test_to_abandon_what_is_half_installed_rolls_back_first(world):
    world.run()
    former, leaf = world.device.bound, x509.parse_certificate(world.device.served())
    stop_at(world, "verify")
    abandon(world)
    assert world.device.bound == former
    assert set(world.device.keys) == {"original", former}
    assert states(world) == [State.ROTATED, State.ABANDONED]
    assert current(world).sha256 == leaf.sha256
    assert world.run().reason == Reason.NOT_DUE


def test_to_abandon_what_was_verified_but_not_recorded_makes_the_former_certificate_current_again(world):
    world.run()
    leaf = x509.parse_certificate(world.device.served())
    stop_at(world, "record")
    assert current(world).sha256 != leaf.sha256
    abandon(world)
    assert x509.parse_certificate(world.device.served()) == leaf
    assert current(world).sha256 == leaf.sha256


def test_to_abandon_says_what_a_half_installed_device_serves_after_it(world):
    world.run()
    stop_at(world, "verify")
    world.device.serves_stale = True
    assert abandon(world).warnings == ("the former certificate is bound again, but it serves something else",)


def test_an_unreachable_device_that_bound_nothing_is_abandoned_with_a_warning(world):
    stop_at(world, "present")
    fail_at(world, "connect", DeviceUnreachable("no route to host"))
    result = abandon(world)
    assert "its objects stay on the device: no route to host; `ottr cleanup web1`" in result.warnings[0]
    [record] = world.surroundings().stores.journal.history("web1")
    assert (record.state, record.cleaned) == (State.ABANDONED, False)
    world.trouble.happen = lambda act: None
    assert orphans(world, remove=True) == (record.label,)
    assert set(world.device.keys) == {"original"}


def test_an_unreachable_device_that_is_half_installed_is_not_abandoned(world):
    world.run()
    stop_at(world, "verify")
    fail_at(world, "connect", DeviceUnreachable("gone"))
    with pytest.raises(DeviceUnreachable):
        abandon(world)
    assert states(world) == [State.ROTATED, State.OPEN]


def test_without_an_open_rotation_there_is_nothing_to_abandon(world):
    world.run()
    with pytest.raises(RotationError, match="web1 has no open rotation") as caught:
        abandon(world)
    assert "ottr history web1" in caught.value.hint


def test_after_abandoning_the_next_run_begins_anew(world):
    stop_at(world, "present")
    abandon(world)
    assert world.run().outcome is Outcome.ROTATED
    assert states(world) == [State.ABANDONED, State.ROTATED]


def test_live_previous_and_open_labels_are_no_orphans(world):
    world.run()
    world.run(forced=True)
    stop_at(world, "create_csr done")
    assert len(world.device.labels()) == 3
    assert orphans(world, remove=True) == ()
    assert len(world.device.labels()) == 3


def test_what_a_lost_rotation_left_is_listed_and_removed_only_when_told(world):
    world.run()
    label = world.device.bound[:-12] + "0" * 12
    world.device.keys[label] = world.device.keys["original"]
    world.device.keys["ottr-zzzz-000000000000"] = world.device.keys["original"]  # another installation's
    kept = set(world.device.keys)
    assert orphans(world) == (label,)
    assert set(world.device.keys) == kept
    assert "cleanup" not in world.trouble.acts
    assert orphans(world, remove=True) == (label,)
    assert set(world.device.keys) == kept - {label}
    assert orphans(world) == ()


def test_what_another_host_of_the_inventory_has_on_the_same_machine_is_no_orphan(world):
    """Two profiles of one load balancer, for instance, or two names of one appliance."""
    world.run()
    world.run(forced=True)
    stop_at(world, "create_csr done")
    world.advance(minutes=3)
    before = set(world.device.keys)
    other = replace(world.target, device=replace(world.target.device, name="web2"))
    for foreign in (False, True):
        assert undo.find_orphans(other, world.surroundings(), remove=True, foreign=foreign) == ()
    assert set(world.device.keys) == before
    undo.forget("web1", world.surroundings())  # and then nobody else would remove its key
    [given_up] = undo.find_orphans(other, world.surroundings(), remove=True)
    assert set(world.device.keys) == before - {given_up}
    world.device.check_sound()


def test_what_a_rotation_would_go_back_to_is_kept_though_that_one_was_given_up(world):
    """Killed between bind and verify, then given up for other names: the next one began from it."""
    world.run()
    stop_at(world, "verify")
    given_up = world.device.bound
    world.trouble.happen = lambda act: None
    world.advance(minutes=3)
    world.target = replace(world.target, device=replace(world.target.device, dns_names=("web1.example.com",)))
    assert world.run().outcome is Outcome.ROTATED
    assert given_up not in orphans(world)
    assert roll_back(world).outcome is Outcome.ROLLED_BACK
    assert world.device.bound == given_up
    world.device.check_sound()


def test_what_another_host_would_go_back_to_is_no_orphan_though_that_rotation_was_given_up(world):
    """Two hosts of the inventory are one machine: what one of them keeps is not the other one's to remove."""
    world.run()
    stop_at(world, "verify")
    given_up = world.device.bound
    world.trouble.happen = lambda act: None
    world.advance(minutes=3)
    world.target = replace(world.target, device=replace(world.target.device, dns_names=("web1.example.com",)))
    assert world.run().outcome is Outcome.ROTATED
    other = replace(world.target, device=replace(world.target.device, name="web2"))
    assert undo.find_orphans(other, world.surroundings(), remove=True) == ()
    assert roll_back(world).outcome is Outcome.ROLLED_BACK
    assert world.device.bound == given_up
    world.device.check_sound()


def test_what_is_live_is_no_orphan_though_the_state_has_forgotten_it(world):
    """As after a backup of the database was put back."""
    world.run()
    live = world.device.bound[:-12] + "0" * 12
    world.device.keys[live], world.device.leaves[live] = world.device.keys["original"], world.device.leaves["original"]
    world.device.bound = live
    assert orphans(world) == ()


def test_a_device_that_is_gone_is_forgotten_without_being_touched(world):
    stop_at(world, "present")
    world.advance(minutes=3)
    world.trouble.acts.clear()
    result = undo.forget("web1", world.surroundings())
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, "abandoned")
    assert "was not touched" in result.warnings[0]
    assert world.trouble.acts == []
    [record] = world.surroundings().stores.journal.history("web1")
    assert (record.id, record.state, record.cleaned) == (result.rotation_id, State.ABANDONED, False)
    with pytest.raises(RotationError, match="web1 has no open rotation"):
        undo.forget("web1", world.surroundings())


def test_the_certificate_a_roll_back_left_is_an_orphan_and_the_live_one_is_not(world):
    world.run()
    world.run(forced=True)
    left = world.device.bound
    roll_back(world)
    assert orphans(world, remove=True) == (left,)
    record = world.surroundings().stores.journal.history("web1")[-1]
    assert (record.label, record.cleaned) == (left, True)
    world.device.check_sound()


def test_a_driver_that_cannot_list_says_so(world):
    class Blind:
        """A driver without labels."""

        def inspect(self): ...

    around = replace(world.surroundings(), connect=lambda target: nullcontext(Blind()))
    with pytest.raises(UnsupportedDevice, match="memory cannot list"):
        undo.find_orphans(world.target, around, remove=False)
