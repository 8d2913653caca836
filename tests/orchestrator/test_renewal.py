# SPDX-License-Identifier: Apache-2.0
"""Renewal windows of the CA (RFC 9773): one instant a window, kept; no error of a CA stops a run."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ottr.errors import IssuerUnavailable
from ottr.model import Outcome, RenewalInfo
from ottr.orchestrator import renewal
from ottr.orchestrator.issuers import Authorities
from ottr.policy import Reason
from ottr.state.schedules import Schedule
from tests.orchestrator.world import NOW, World

DAY = dt.timedelta(days=1)
WINDOW = RenewalInfo(NOW + 40 * DAY, NOW + 42 * DAY, 3600.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.run()
    world.issuer.offers = True
    world.issuer.window = WINDOW
    world.trouble.acts.clear()
    return world


def refresh(world: World, *devices: tuple[str, str]) -> Schedule:
    around = world.surroundings()
    renewal.refresh(around, devices or [("web1", "ca")], forks=4)
    return around.stores.schedules.find("web1")


def failing(act: str, error: Exception | None = None):
    def happen(now: str) -> None:
        if now == act:
            raise error or IssuerUnavailable("down")

    return happen


def chosen(info: RenewalInfo = WINDOW, former: Schedule | None = None, sha256: str = "aa", seed: int = 1) -> Schedule:
    return renewal.choose(info, former or Schedule("web1"), sha256, NOW, random.Random(seed))


def test_the_instant_lies_in_the_window_and_differs_from_device_to_device():
    instants = [chosen(seed=seed).renewal_at for seed in range(200)]
    assert all(WINDOW.start <= instant <= WINDOW.end for instant in instants)
    assert max(instants) - min(instants) > DAY


def test_the_instant_stays_as_long_as_the_window_does():
    former = chosen(seed=1)
    again = chosen(former=former, seed=2)
    assert again.renewal_at == former.renewal_at


def test_a_window_that_moves_and_another_certificate_have_an_instant_of_their_own():
    former = chosen(seed=1)
    moved = replace(WINDOW, start=WINDOW.start + 9 * DAY, end=WINDOW.end + 9 * DAY)
    assert chosen(moved, former, seed=1).renewal_at >= moved.start
    assert chosen(former=former, sha256="bb", seed=2).renewal_at != former.renewal_at


def test_an_instant_that_was_never_chosen_is_chosen_now():
    former = replace(chosen(), renewal_at=None)
    assert chosen(former=former).renewal_at is not None


def test_the_window_is_kept_with_the_certificate_it_is_for(world):
    kept = refresh(world)
    [facts] = world.surroundings().stores.certificates.of_device("web1")
    assert (kept.renewal_sha256, kept.renewal_start, kept.renewal_end) == (facts.sha256, WINDOW.start, WINDOW.end)
    assert WINDOW.start <= kept.renewal_at <= WINDOW.end
    assert kept.renewal_check_at == world.now + dt.timedelta(hours=1)


def test_the_ca_is_asked_again_when_it_said_and_not_before(world):
    first = refresh(world)
    world.trouble.acts.clear()
    refresh(world)
    assert world.trouble.acts == []
    world.advance(hours=2)
    again = refresh(world)
    assert world.trouble.acts == ["directory", "renewal_info"]
    assert again.renewal_at == first.renewal_at
    assert again.renewal_check_at > first.renewal_check_at


def test_a_window_in_the_past_makes_the_device_due_now(world):
    world.issuer.window = RenewalInfo(NOW - 2 * DAY, NOW - DAY, 3600.0)
    assert world.run().outcome is Outcome.NOT_DUE
    refresh(world)
    result = world.run()
    assert (result.outcome, result.reason) == (Outcome.ROTATED, Reason.ARI_WINDOW)
    assert world.run().reason == Reason.NOT_DUE


def test_a_device_is_due_when_its_instant_has_come(world):
    refresh(world)
    world.advance(days=39)
    assert world.run().reason == Reason.NOT_DUE
    world.advance(days=3)
    assert world.run().reason == Reason.ARI_WINDOW


def test_an_expired_certificate_is_not_asked_for(world):
    world.advance(days=91)
    refresh(world)
    assert world.trouble.acts == []


def test_a_ca_that_offers_no_windows_is_not_asked_for_any(world):
    world.issuer.offers = False
    assert refresh(world) == Schedule("web1")
    assert world.trouble.acts == ["directory"]


def test_a_ca_none_of_whose_certificates_is_to_be_asked_for_is_left_alone(world):
    """Not even made: it may be one that does not answer."""
    made: list[str] = []
    around = world.surroundings()
    real = around.authorities["ca"]

    def build(name: str):
        made.append(name)
        return real

    around = replace(around, authorities=Authorities({"ca": None, "other": None}, build))
    devices = [("web1", "ca"), ("gone", "ca"), ("web1", "removed from ottr.yaml")]
    renewal.refresh(around, devices, forks=4)
    assert made == ["ca"]
    made.clear()
    world.advance(days=91)
    again = Authorities({"ca": None, "other": None}, build)
    renewal.refresh(replace(around, authorities=again), devices, forks=4)
    assert made == []


@pytest.mark.parametrize("act", ["directory", "renewal_info"])
def test_a_ca_in_trouble_stops_no_run(world, act):
    world.trouble.happen = failing(act)
    assert refresh(world).renewal_at is None
    world.trouble.happen = lambda act: None
    assert world.run().reason == Reason.NOT_DUE


@pytest.mark.parametrize("error", [IssuerUnavailable("down"), OverflowError("a bug")])
def test_after_an_error_the_former_instant_stays_and_the_ca_is_left_in_peace_for_a_while(world, error):
    former = refresh(world)
    world.advance(hours=2)
    world.trouble.happen = failing("renewal_info", error)
    kept = refresh(world)
    assert kept.renewal_at == former.renewal_at
    assert kept.renewal_check_at == world.now + renewal.ASK_AGAIN
    world.trouble.acts.clear()
    refresh(world)
    assert world.trouble.acts == []


def test_a_ca_with_no_window_for_a_certificate_is_asked_again_later(world):
    refresh(world)
    world.run(forced=True)
    world.issuer.window = None
    kept = refresh(world)
    [_, facts] = world.surroundings().stores.certificates.of_device("web1")
    assert (kept.renewal_sha256, kept.renewal_at) == (facts.sha256, None)
    assert kept.renewal_check_at == world.now + renewal.ASK_AGAIN


def test_a_certificate_that_another_process_has_pruned_meanwhile_is_not_asked_for(world):
    around = world.surroundings()
    stores = around.stores
    pruned = SimpleNamespace(current=stores.certificates.current, pem=lambda device, sha256: None)
    renewal.refresh(replace(around, stores=replace(stores, certificates=pruned)), [("web1", "ca")], forks=1)
    assert world.trouble.acts == ["directory"]
    assert stores.schedules.find("web1").renewal_at is None
