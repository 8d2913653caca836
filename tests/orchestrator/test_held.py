# SPDX-License-Identifier: Apache-2.0
"""A rotation that is held after a step, and gone on with by whoever comes next."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottr.errors import DeviceUnreachable
from ottr.model import Outcome, RotationResult, Step
from ottr.orchestrator import devicerun
from ottr.policy import Decision, Reason
from ottr.state.journal import State
from tests.orchestrator.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def step(world: World, until: Step) -> RotationResult:
    """One step in a process of its own."""
    world.advance(seconds=1)
    decision = Decision(due=True, reason=Reason.UNFINISHED)
    return devicerun.run(world.target, world.surroundings(), lambda target: decision, lambda *_: None, until)


def installs(world: World) -> int:
    return world.trouble.acts.count("install")


def test_each_step_is_taken_once_and_the_last_one_ends_the_rotation(world: World) -> None:
    for until in (Step.CSR, Step.ORDER, Step.INSTALL):
        first, again = step(world, until), step(world, until)
        assert (first.outcome, first.step) == (again.outcome, again.step) == (Outcome.HELD, until)
        assert first.rotation_id == again.rotation_id
    assert world.issuer.issued == installs(world) == 1
    assert step(world, Step.VERIFY).outcome is Outcome.ROTATED
    assert (world.issuer.issued, installs(world)) == (1, 1)
    assert world.device.armed == ""
    assert world.recorder.recorded


@pytest.mark.parametrize(("until", "bound"), [(Step.CSR, False), (Step.ORDER, False), (Step.INSTALL, True)])
def test_nothing_is_bound_before_its_step(world: World, until: Step, bound: bool) -> None:
    step(world, until)
    assert (world.device.bound != "original") is bound
    assert (world.device.armed == "original") is bound
    world.device.check_sound()


@pytest.mark.parametrize("until", [Step.CSR, Step.ORDER, Step.INSTALL])
def test_an_ordinary_run_goes_on_with_what_is_held(world: World, until: Step) -> None:
    held = step(world, until)
    result = world.run()
    assert result.outcome is Outcome.ROTATED
    assert result.rotation_id == held.rotation_id
    assert world.issuer.issued == 1


def test_a_device_that_went_back_by_itself_is_rolled_back_at_verification(world: World) -> None:
    step(world, Step.INSTALL)
    world.device.fire()
    result = step(world, Step.VERIFY)
    assert result.outcome is Outcome.ROLLED_BACK
    assert installs(world) == 1
    assert step(world, Step.INSTALL).outcome is Outcome.HELD  # the same certificate again
    assert (world.issuer.issued, installs(world)) == (1, 2)
    assert step(world, Step.VERIFY).outcome is Outcome.ROTATED


def test_a_device_lost_at_verification_needs_a_human_unless_it_can_be_reached_again(world: World) -> None:
    step(world, Step.INSTALL)

    def lose(act: str) -> None:
        if act in ("verify", "rollback", "connect"):
            raise DeviceUnreachable

    world.trouble.happen = lose
    assert step(world, Step.VERIFY).outcome in (Outcome.STRANDED, Outcome.UNREACHABLE)
    world.trouble.happen = lambda act: None
    assert step(world, Step.VERIFY).outcome is Outcome.ROTATED
    assert world.issuer.issued == 1


def test_a_held_rotation_is_open(world: World) -> None:
    step(world, Step.ORDER)
    [record] = world.surroundings().stores.journal.open_rotations("web1")
    assert record.state is State.OPEN
