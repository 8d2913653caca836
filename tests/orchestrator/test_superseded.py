# SPDX-License-Identifier: Apache-2.0
"""Revoking what was superseded: nothing is lost, nothing is done twice, nobody else's certificate is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ottr.errors import AcmeProblem
from ottr.model import Outcome
from tests.orchestrator.world import Killed, MemoryIssuer, World, make_leaf


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def raise_at(world: World, act: str, error: BaseException) -> None:
    def happen(now: str) -> None:
        if now == act:
            raise error

    world.trouble.happen = happen


def end_trouble(world: World) -> None:
    world.trouble.happen = lambda act: None


def test_a_revocation_that_failed_is_made_up_for_by_the_next_rotation(world):
    world.reroute(revoke_superseded=True)
    served = []
    for refusing in (False, True, False, False):
        raise_at(world, "revoke" if refusing else "", AcmeProblem("not now"))
        result = world.run(forced=True)
        served.append(world.device.served())
        assert bool(result.warnings) is refusing
    assert world.issuer.revoked == served[:3]


def test_a_kill_before_the_revocation_does_not_lose_it(world):
    world.reroute(revoke_superseded=True)
    world.run()
    first = world.device.served()
    raise_at(world, "revoke", Killed())
    with pytest.raises(Killed):
        world.run(forced=True)
    assert world.issuer.revoked == []
    end_trouble(world)
    assert world.run().outcome is Outcome.ROTATED
    assert world.issuer.revoked == [first]
    assert [bool(one.revoked_at) for one in world.surroundings().stores.certificates.of_device("web1")] == [True, False]
    assert world.run().outcome is Outcome.NOT_DUE


def test_what_has_expired_or_was_found_on_the_device_is_not_revoked(world):
    def adopt(leaf_pem: str) -> None:
        world.advance(seconds=1)
        world.surroundings().stores.certificates.adopt("web1", "ca", leaf_pem, world.now)

    world.run()
    expired = world.device.served()
    world.advance(days=365)
    adopt(make_leaf("web1.example.com", days=3650))
    world.reroute(revoke_superseded=True)
    world.run(forced=True)
    assert world.device.served() != expired
    assert world.issuer.revoked == []


def test_what_another_device_still_serves_is_not_revoked(world):
    """The other unit of a pair got it by synchronization, and has not been rotated yet."""
    world.reroute(revoke_superseded=True)
    world.run()
    stores = world.surroundings().stores
    stores.certificates.adopt("web2", "ca", world.device.served(), world.now)
    [warning] = world.run(forced=True).warnings
    assert warning.endswith("is not revoked: web2 still has it")
    assert world.issuer.revoked == []


def test_a_certificate_of_another_issuer_is_revoked_there_and_a_lost_issuer_is_named(world):
    world.reroute(revoke_superseded=True)
    world.run()
    former = world.device.served()
    around = world.surroundings()
    other = MemoryIssuer(world.trouble)
    both = {"other": replace(around.authorities["ca"], issuer=other), **around.authorities}
    world.reroute(issuer="other")
    assert world.run(forced=True, around=replace(around, authorities=both)).warnings == ()
    assert (world.issuer.revoked, other.revoked) == ([former], [])

    world.reroute(issuer="ca")
    [warning] = world.run(forced=True).warnings
    assert "'other'" in warning
