# SPDX-License-Identifier: Apache-2.0
"""Selection: one reason code for every host, none vanishes, the most urgent first; and what the state says of each."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottr.inventory import InventoryHost
from ottr.model import Device, KeyType, Route, Step
from ottr.policy import Reason
from ottr.routing import Reason as NoRoute
from ottr.routing import Router
from ottr.selection import Candidate, Selector, queue
from ottr.settings import Freeze, IssuerSettings, RotationSettings
from ottr.state.certificates import CertificateFacts, Observation
from ottr.state.journal import Entry, Journal, Record, State, Status
from ottr.state.schedules import Schedule
from ottr.state.view import StateView, half_installed

NOW = dt.datetime(2026, 11, 22, 3, 0, tzinfo=dt.UTC)  # a Sunday
DAY = dt.timedelta(days=1)
ROUTE = Route("memory", "ca")


def host(name: str = "web1", **variables: Any) -> InventoryHost:
    values = {"host_platform": "linux", "common_name": f"{name}.example.com"} | variables
    return InventoryHost(name, variables={key: value for key, value in values.items() if value is not None})


def facts(name: str = "web1", *, not_after: dt.datetime = NOW + 60 * DAY, **changes: Any) -> CertificateFacts:
    one = CertificateFacts(
        device=name,
        rotation_id="r",
        ca="ca",
        sha256=f"sha of {name}",
        serial="1",
        issuer="CN=CA",
        dns_names=(f"{name}.example.com",),
        key_type="ec256",
        not_before=not_after - 90 * DAY,
        not_after=not_after,
        served_at=NOW - DAY,
    )
    return replace(one, **changes)


def record(name: str = "web1") -> Record:
    names = (f"{name}.example.com",)
    return Record(
        "r2", name, "ottr-a-b", "forced", "memory", "ca", names, KeyType.EC256, State.OPEN, 1, "", False, NOW, None
    )


def view(
    *certificates: CertificateFacts,
    schedules: tuple[Schedule, ...] = (),
    open_ones: tuple[Record, ...] = (),
    seen: tuple[Observation, ...] = (),
    half: frozenset[str] = frozenset(),
) -> StateView:
    return StateView(
        {one.device: one for one in certificates},
        {one.device: one for one in schedules},
        {one.device: one for one in open_ones},
        {one.device: [other for other in seen if other.device == one.device] for one in seen},
        half,
    )


def selector(
    routes: Mapping[str, Route | NoRoute] | None = None,
    settings: RotationSettings | None = None,
    issuer_names: tuple[str, ...] = (),
) -> Selector:
    def find(device: Device) -> Route | NoRoute:
        return (routes or {}).get(device.name, ROUTE)

    issuers = {"ca": IssuerSettings("ca", "https://ca.test/dir", issuer_names=issuer_names)}
    return Selector(cast(Router, SimpleNamespace(route=find)), issuers, settings or RotationSettings())


def judge(
    one: InventoryHost | None = None, state: StateView | None = None, *, forced: bool = False, **words: Any
) -> Candidate:
    [candidate] = selector(**words).select([one or host()], state or view(), NOW, forced=forced)
    return candidate


def test_a_host_of_which_nothing_is_known_is_due():
    found = judge()
    assert (found.due, found.reason, found.message, found.known) == (True, "never_issued", "", None)
    assert found.device.name == "web1"
    assert found.route is ROUTE


@pytest.mark.parametrize(
    ("state", "due", "reason"),
    [
        (view(facts()), False, Reason.NOT_DUE),
        (view(facts(not_after=NOW + DAY)), True, Reason.LIFETIME_FRACTION),
        (view(facts(dns_names=("old.example.com",))), True, Reason.NAMES_CHANGED),
        (view(facts(ca="ca_staging")), True, Reason.ISSUER_CHANGED),
        (view(facts(key_type="rsa2048")), True, Reason.KEY_TYPE_CHANGED),
        (view(facts(revoked_at=NOW)), True, Reason.REVOKED),
        (view(facts(), open_ones=(record(),)), True, Reason.UNFINISHED),
        (view(facts(), seen=(Observation("web1", "e", NOW, "another"),)), True, Reason.DRIFT),
        (view(facts(), seen=(Observation("web1", "e", NOW, ""),)), False, Reason.NOT_DUE),
        (view(facts(), seen=(Observation("web1", "e", NOW, "sha of web1"),)), False, Reason.NOT_DUE),
        (view(facts(), seen=(Observation("web1", "e", NOW - 2 * DAY, "another"),)), False, Reason.NOT_DUE),
        (
            view(
                facts(), seen=(Observation("web1", "e", NOW, "sha of web1"), Observation("web1", "f", NOW, "another"))
            ),
            True,
            Reason.DRIFT,
        ),
        (view(schedules=(Schedule("web1", 5, quarantined_at=NOW),)), False, Reason.QUARANTINED),
        (view(schedules=(Schedule("web1", 1, not_before=NOW + DAY),)), False, Reason.DEFERRED),
        (view(schedules=(Schedule("web1", 1, not_before=NOW - DAY),)), True, Reason.NEVER_ISSUED),
        (
            view(facts(), schedules=(Schedule("web1", renewal_sha256="sha of web1", renewal_at=NOW - DAY),)),
            True,
            Reason.ARI_WINDOW,
        ),
        (
            view(facts(), schedules=(Schedule("web1", renewal_sha256="one before", renewal_at=NOW - DAY),)),
            False,
            Reason.NOT_DUE,
        ),
    ],
)
def test_the_state_gives_the_reason(state, due, reason):
    found = judge(state=state)
    assert (found.due, found.reason) == (due, reason)


def test_a_half_installed_rotation_is_due_whatever_the_back_off():
    schedules = (Schedule("web1", 1, not_before=NOW + DAY),)
    assert judge(state=view(open_ones=(record(),), schedules=schedules)).reason == Reason.DEFERRED
    found = judge(state=view(open_ones=(record(),), schedules=schedules, half=frozenset({"web1"})))
    assert (found.due, found.reason) == (True, Reason.UNFINISHED)


def test_who_forces_is_not_asked_for_a_reason():
    assert judge(state=view(facts()), forced=True).reason == Reason.FORCED


def test_outside_its_window_a_device_waits_and_says_until_when():
    routes = {"web1": replace(ROUTE, windows=("22:00-23:00",))}
    found = judge(routes=routes)
    assert (found.due, found.reason) == (False, Reason.OUTSIDE_WINDOW)
    assert found.decision.next_at == dt.datetime(2026, 11, 22, 22, 0, tzinfo=dt.UTC)
    assert judge(routes={"web1": replace(ROUTE, windows=("02:00-04:00",))}).due


def test_a_freeze_holds_every_device():
    settings = RotationSettings(freezes=(Freeze("2026-11-20T00:00:00+00:00", "2026-12-01T00:00:00+00:00"),))
    found = judge(settings=settings)
    assert found.reason == Reason.OUTSIDE_WINDOW
    assert found.decision.next_at == dt.datetime(2026, 12, 1, tzinfo=dt.UTC)


def test_a_certificate_found_on_a_device_is_judged_by_the_name_of_its_issuer():
    found = view(facts(ca=""))
    assert judge(state=found, issuer_names=("CN=CA",)).reason == Reason.NOT_DUE
    assert judge(state=found, issuer_names=("CN=Other*",)).reason == Reason.ISSUER_CHANGED


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"common_name": None}, "no_common_name"),
        ({"host_platform": None}, "no_platform"),
        ({"common_name": "a; rm -rf /"}, "bad_name"),
        ({"os_version": 9.1}, "bad_version"),
    ],
)
def test_a_host_that_is_no_device_is_reported_with_its_reason(variables, reason):
    found = judge(host(**variables))
    assert (found.due, found.reason, found.decision) == (False, reason, None)
    assert found.message


def test_what_the_operator_can_do_is_in_the_message():
    assert judge(host(common_name=None)).message.endswith(")")
    assert judge(host(common_name="a b")).message[-1] != ")"


def test_a_device_without_a_route_is_reported_with_its_reason():
    found = judge(routes={"web1": NoRoute("no_route", "no route matches web1")})
    assert (found.due, found.reason, found.message) == (False, "no_route", "no route matches web1")
    assert found.device is not None


@given(st.lists(st.sampled_from(["good", "due", "nameless", "routeless", "quarantined"]), max_size=12))
def test_no_host_ever_vanishes(kinds: list[str]):
    hosts, certificates, schedules, routes = [], [], [], {}
    for number, kind in enumerate(kinds):
        name = f"h{number}"
        hosts.append(host(name, **({"common_name": None} if kind == "nameless" else {})))
        if kind == "good":
            certificates.append(facts(name))
        if kind == "routeless":
            routes[name] = NoRoute("no_route", "none")
        if kind == "quarantined":
            schedules.append(Schedule(name, 5, quarantined_at=NOW))
    found = selector(routes).select(hosts, view(*certificates, schedules=tuple(schedules)), NOW)
    assert [one.host.name for one in found] == [one.name for one in hosts]
    assert all(one.reason for one in found)
    reasons = {"good": "not_due", "due": "never_issued", "nameless": "no_common_name", "routeless": "no_route"}
    assert [one.reason for one in found] == [reasons.get(kind, kind) for kind in kinds]
    assert {one.host.name for one in queue(found)} == {
        one.name for one, kind in zip(hosts, kinds, strict=True) if kind == "due"
    }


def test_the_queue_begins_with_what_cannot_wait_then_soonest_expiry_then_new_ones():
    state = view(
        facts("later", not_after=NOW + 20 * DAY),
        facts("sooner", not_after=NOW + DAY),
        facts("open"),
        facts("fine"),
        facts("revoked", revoked_at=NOW),
        open_ones=(record("open"),),
    )
    names = ("new", "later", "fine", "sooner", "open", "revoked")
    found = selector().select([host(name) for name in names], state, NOW)
    assert [one.host.name for one in queue(found)] == ["open", "revoked", "sooner", "later", "new"]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([], False),
        ([(Step.ORDER, Status.DONE)], False),
        ([(Step.INSTALL, Status.STARTED)], True),
        ([(Step.INSTALL, Status.DONE), (Step.VERIFY, Status.FAILED)], True),
        ([(Step.INSTALL, Status.DONE), (Step.VERIFY, Status.DONE)], True),
        ([(Step.INSTALL, Status.DONE), (Step.ROLLBACK, Status.STARTED)], True),
        ([(Step.INSTALL, Status.DONE), (Step.ROLLBACK, Status.FAILED)], True),
        ([(Step.INSTALL, Status.DONE), (Step.ROLLBACK, Status.DONE)], False),
        ([(Step.INSTALL, Status.DONE), (Step.ROLLBACK, Status.DONE), (Step.CSR, Status.FAILED)], False),
        ([(Step.ROLLBACK, Status.DONE), (Step.INSTALL, Status.STARTED)], True),
    ],
)
def test_an_install_that_was_begun_and_not_rolled_back_is_half_done(steps, expected):
    entries = [Entry(step, status, NOW) for step, status in steps]
    journal = cast(Journal, SimpleNamespace(entries=lambda rotation_id: entries))
    assert half_installed(journal, record()) is expected
