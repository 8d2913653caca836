# SPDX-License-Identifier: Apache-2.0
"""``--check``: what would stop a rotation, and what one would change; nothing is touched."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

from ottr.errors import AuthenticationFailed, DeviceUnreachable, DnsError, IssuerUnavailable
from ottr.model import Device, Facts, KeyType, Outcome
from ottr.orchestrator.preflight import check, difference
from tests.orchestrator.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def look(world: World):
    return check(world.target, world.surroundings())


def failing(act: str, error: Exception):
    def happen(now: str) -> None:
        if now == act:
            raise error

    return happen


def test_a_device_that_is_ready_is_planned_and_nothing_is_changed(world):
    before = (dict(world.device.keys), world.device.bound)
    result = look(world)
    assert (result.outcome, result.error, result.step) == (Outcome.PLANNED, None, "preflight")
    assert (result.driver, result.issuer, result.started, result.finished) == ("memory", "ca", world.now, world.now)
    assert (world.device.keys, world.device.bound) == before
    assert set(world.trouble.acts) == {"connect", "inspect", "check", "directory", "clock"}
    assert world.publisher.probed == ["web1.example.com", "www.example.com"]
    assert world.surroundings().stores.journal.history("web1") == []


def test_what_a_device_has_to_say_is_a_warning_and_stops_nothing(world):
    world.device.remarks = ("the key is open to all",)
    planned, rotated = look(world), world.run()
    assert (planned.outcome, planned.warnings) == (Outcome.PLANNED, world.device.remarks)
    assert (rotated.outcome, rotated.warnings) == (Outcome.ROTATED, world.device.remarks)


def test_the_difference_has_a_row_for_what_changes_and_only_that(world):
    result = look(world)
    assert [row[0] for row in result.diff] == ["issuer", "not_after"]
    assert result.diff[0][1:] == ("CN=web1.example.com", "ca")
    world.reroute(key_type=KeyType.RSA2048)
    world.target = replace(world.target, device=replace(world.target.device, dns_names=("new.example.com",)))
    rows = {what: (before, after) for what, before, after in look(world).diff}
    assert rows["names"] == ("web1.example.com www.example.com", "new.example.com")
    assert rows["key type"] == ("ec256", "rsa2048")


def test_a_device_without_a_certificate_differs_from_nothing(world):
    device = Device("web1", "linux", "192.0.2.1", ("web1.example.com",))
    assert difference(device, world.target.route, Facts()) == (
        ("names", "", "web1.example.com"),
        ("issuer", "", "ca"),
        ("key type", "", "ec256"),
        ("not_after", "", "as the CA decides"),
    )


def test_a_mistake_in_what_a_device_has_to_say_stops_nothing(world):
    def notices():
        raise ValueError

    world.device.notices = notices
    assert (look(world).outcome, world.run().outcome) == (Outcome.PLANNED, Outcome.ROTATED)


@pytest.mark.parametrize("act", ["directory", "clock"])
def test_every_problem_is_told_at_once(world, act):
    world.device.problems = ("sudo is refused", "the disk is full")
    world.publisher.error = DnsError("no solver writes the zone")
    world.trouble.happen = failing(act, IssuerUnavailable("the CA does not answer"))
    result = look(world)
    assert (result.outcome, result.error.kind) == (Outcome.FAILED, "NotReady")
    problem = "no solver writes the zone"
    assert result.error.message == "; ".join(
        ["sudo is refused", "the disk is full", problem, problem, "the CA does not answer"]
        + [problem] * (act == "clock")
    )
    assert "ottr rotate --check" in result.error.hint
    assert result.diff


@pytest.mark.parametrize(
    ("error", "outcome", "kind"),
    [
        (DeviceUnreachable("no route"), Outcome.UNREACHABLE, "DeviceUnreachable"),
        (AuthenticationFailed("refused"), Outcome.FAILED, "AuthenticationFailed"),
        (ZeroDivisionError("a bug in a driver"), Outcome.FAILED, "Unexpected"),
    ],
)
def test_whatever_stops_the_look_is_a_result(world, error, outcome, kind):
    world.trouble.happen = failing("inspect", error)
    result = look(world)
    assert (result.outcome, result.error.kind, result.finished) == (outcome, kind, world.now)


def test_a_driver_without_a_preflight_is_looked_at_as_far_as_it_goes(world):
    class Plain:
        """A driver that can only look."""

        def inspect(self) -> Facts:
            return Facts()

    around = replace(world.surroundings(), connect=lambda target: nullcontext(Plain()))
    assert check(world.target, around).outcome is Outcome.PLANNED


def test_caa_records_that_name_another_ca_are_a_problem_also_when_the_clock_is_wrong(world):
    world.publisher.caa = "example.com"
    world.trouble.happen = failing("clock", IssuerUnavailable("the clock is wrong"))
    result = look(world)
    assert result.outcome is Outcome.FAILED
    assert "the clock is wrong; the CAA" in result.error.message
    assert "the CAA records of example.com do not let ca issue for web1.example.com" in result.error.message
