# SPDX-License-Identifier: Apache-2.0
"""``verify``: issued, installed, bound and served compared; a lost database learns, from good endpoints only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ottr import x509
from ottr.errors import DeviceUnreachable
from ottr.model import Endpoint, KeyType, ServedStatus
from ottr.orchestrator.inspection import verify
from ottr.policy import Reason
from ottr.probe import Served
from ottr.state.view import load_view
from tests.orchestrator.world import Killed, World

SECOND = Endpoint("192.0.2.1", 8443, "web1.example.com")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def look(world: World):
    world.advance(seconds=1)
    return verify(world.target, world.surroundings())


def current(world: World):
    return world.surroundings().stores.certificates.current().get("web1")


def rotated(world: World) -> World:
    world.run()
    world.recorder.recorded.clear()
    return world


def stopped_at(world: World, act: str, error: BaseException | None = None) -> World:
    """A second rotation that ended at an act, as by SIGKILL."""

    def happen(now: str) -> None:
        if now == act:
            world.trouble.happen = stay_dead if error is None else (lambda act: None)
            raise error or Killed

    def stay_dead(now: str) -> None:
        raise Killed

    world.trouble.happen = happen
    if error is None:
        with pytest.raises(Killed):
            world.run(forced=True)
    else:
        world.run(forced=True)
    world.trouble.happen = lambda act: None
    return world


def test_what_was_issued_installed_bound_and_served_is_ok_with_the_time_of_each(world):
    rotated(world)
    [result] = look(world)
    leaf = x509.parse_certificate(world.device.served())
    assert (result.status, result.problem, result.endpoint) == (ServedStatus.OK, "", "192.0.2.1:443")
    assert (result.sha256, result.serial, result.not_after) == (leaf.sha256, leaf.serial, leaf.not_after)
    assert None not in (result.issued_at, result.installed_at, result.bound_at, result.served_at)
    assert world.recorder.recorded == {"web1": leaf.sha256}


def test_another_certificate_than_the_issued_one_is_drift_and_makes_the_device_due(world):
    rotated(world)
    issued = x509.parse_certificate(world.device.served())
    world.device.bound = "original"
    [result] = look(world)
    leaf = x509.parse_certificate(world.device.served())
    assert result.status is ServedStatus.DRIFT
    assert world.run().reason == Reason.DRIFT
    assert leaf.sha256 != issued.sha256


def test_drift_names_both_serials(world):
    rotated(world)
    first = x509.parse_certificate(world.device.served())
    world.run(forced=True)
    second = x509.parse_certificate(world.device.served())
    world.elsewhere[443] = Served(first)
    [result] = look(world)
    assert result.problem == f"serves serial {first.serial}, issued was {second.serial}"
    assert result.status is ServedStatus.DRIFT


def test_an_endpoint_that_serves_nothing_is_unreachable_which_is_not_drift(world):
    rotated(world)
    world.elsewhere[443] = Served(None, "no handshake: Connection refused")
    [result] = look(world)
    assert (result.status, result.sha256) == (ServedStatus.UNREACHABLE, "")
    assert result.problem == "no handshake: Connection refused"
    assert world.recorder.recorded == {}
    assert world.run().reason == Reason.NOT_DUE


def test_a_certificate_clients_would_refuse_is_drift_and_is_not_recorded(world):
    rotated(world)
    leaf = x509.parse_certificate(world.device.served())
    world.elsewhere[443] = Served(leaf, "unable to get local issuer certificate")
    [result] = look(world)
    assert (result.status, result.problem) == (ServedStatus.DRIFT, "unable to get local issuer certificate")
    assert world.recorder.recorded == {}


@pytest.mark.parametrize(
    "other",
    [
        Served(None, "no handshake: timed out"),
        "original",
        "untrusted",
    ],
)
def test_only_what_every_endpoint_serves_alike_is_recorded_and_learnt(world, other):
    world.run()
    world.lose_database()
    world.recorder.recorded.clear()
    leaf = x509.parse_certificate(world.device.served())
    odd = {"original": Served(x509.parse_certificate(world.device.leaves["original"])), "untrusted": Served(leaf, "no")}
    world.reroute(endpoints=(*world.target.route.endpoints, SECOND))
    world.elsewhere[SECOND.port] = odd[other] if isinstance(other, str) else other
    results = look(world)
    assert [result.endpoint for result in results] == ["192.0.2.1:443", "192.0.2.1:8443"]
    assert results[0].status is ServedStatus.UNKNOWN
    assert world.recorder.recorded == {}
    assert current(world) is None


def test_a_look_that_is_not_to_be_remembered_leaves_no_trace(world):
    rotated(world)
    world.advance(seconds=1)
    [seen] = verify(world.target, world.surroundings(), remember=False)
    assert seen.status is ServedStatus.OK
    assert world.recorder.recorded == {}
    [known] = world.surroundings().stores.certificates.observations("web1")
    assert known.at < world.now  # that of the rotation


def test_a_device_without_endpoints_has_nothing_to_look_at(world):
    world.reroute(endpoints=())
    assert look(world) == []
    assert world.recorder.recorded == {}


def test_a_lost_database_learns_what_a_good_endpoint_serves(world):
    world.run()
    world.lose_database()
    [result] = look(world)
    assert (result.status, result.problem) == (ServedStatus.UNKNOWN, "")
    found = current(world)
    assert (found.sha256, found.ca, found.rotation_id) == (result.sha256, "ca", "")
    assert found.served_at is not None
    assert world.recorder.recorded == {"web1": result.sha256}
    assert look(world)[0].status is ServedStatus.OK
    assert world.run().reason == Reason.NOT_DUE
    assert world.issuer.issued == 1


@pytest.mark.parametrize(
    ("spoil", "difference"),
    [
        (lambda world: setattr(world, "issuer_names", ("CN=Another CA",)), "issuer_changed"),
        (lambda world: world.reroute(key_type=KeyType.RSA2048), "key_type_changed"),
        (
            lambda world: setattr(
                world, "target", replace(world.target, device=replace(world.target.device, dns_names=("x.example",)))
            ),
            "names_changed",
        ),
    ],
)
def test_a_lost_database_learns_nothing_that_the_route_does_not_ask_for(world, spoil, difference):
    world.run()
    world.lose_database()
    spoil(world)
    [result] = look(world)
    assert (result.status, result.problem) == (ServedStatus.DRIFT, f"not as the route asks: {difference}")
    assert current(world) is None


def test_a_lost_database_learns_nothing_from_a_self_signed_certificate(world):
    [result] = look(world)
    assert (result.status, result.problem) == (ServedStatus.DRIFT, "self-signed certificate")
    assert current(world) is None
    assert world.recorder.recorded == {}


def test_a_certificate_that_waits_for_its_device_is_reported_with_the_way_on(world):
    rotated(world)
    stopped_at(world, "install", DeviceUnreachable("gone"))
    [result] = look(world)
    [_, waiting] = world.surroundings().stores.certificates.of_device("web1")
    assert result.status is ServedStatus.DRIFT
    assert result.problem == f"serial {waiting.serial} was issued and is not served; `ottr resume` installs it"
    assert (result.issued_at, result.installed_at, result.served_at) == (waiting.issued_at, None, None)


def test_a_rotation_stopped_between_bind_and_verify_is_reported_as_open_not_as_the_wrong_certificate(world):
    rotated(world)
    stopped_at(world, "verify")
    [result] = look(world)
    assert result.status is ServedStatus.DRIFT
    assert result.problem == f"serial {result.serial} is served, its rotation is open; `ottr resume` ends it"


def test_a_first_certificate_that_waits_is_reported_too(world):
    stopped_at(world, "install", DeviceUnreachable("gone"))
    world.elsewhere[443] = Served(x509.parse_certificate(world.device.served()))
    [result] = look(world)
    assert "was issued and is not served" in result.problem


def test_an_open_rotation_without_a_certificate_is_no_drift(world):
    rotated(world)
    stopped_at(world, "issue")
    assert look(world)[0].status is ServedStatus.OK


def test_an_inventory_that_cannot_be_written_is_a_warning(world):
    rotated(world)
    world.recorder.warning = "hosts.yml is read-only"
    [result] = look(world)
    assert (result.status, result.warnings) == (ServedStatus.OK, ("hosts.yml is read-only",))


def test_what_was_seen_before_a_rotation_ended_is_no_drift_after_it(world):
    """A look that began before the new certificate was bound may be written down after the rotation's end."""
    rotated(world)
    around = world.surroundings()

    def happen(act: str) -> None:
        if act == "observe":
            world.trouble.happen = lambda act: None
            world.elsewhere[443] = Served(x509.parse_certificate(world.device.served()))
            world.run(forced=True)

    world.trouble.happen = happen
    world.advance(seconds=1)
    verify(world.target, around)
    stores = world.surroundings().stores
    view = load_view(stores.journal, stores.certificates, stores.schedules)
    assert view.situation("web1", forced=False).served_sha256 is None
    assert world.run().reason == Reason.NOT_DUE


def test_a_worker_that_is_about_to_go_is_no_drift(world):
    """One more connection with the former certificate just after a reload; half a second later it is gone."""
    rotated(world)
    world.device.serves_stale = True
    around = replace(world.surroundings(), wait=lambda seconds: setattr(world.device, "serves_stale", False))
    [result] = verify(world.target, around)
    assert result.status is ServedStatus.OK
