# SPDX-License-Identifier: Apache-2.0
"""Many hosts in one run: who goes at once, who waits for whom, and what stops the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from ottr.lab import Lab
from ottr.lab.host import Host
from ottr.model import Outcome, RotationResult, Step
from ottr.orchestrator.runner import Rollout
from ottr.policy import Reason
from ottr.report import ExitStatus, exit_status
from tests.acceptance.faults import (
    Counter,
    Site,
    await_served,
    check_rotated,
    lease_holder,
    parse_certificate_of,
    reload_script,
    restore_reload,
    served,
    write_script,
)


@pytest.fixture
def pair(shared_lab: Lab, site: Site) -> tuple[Host, Host]:
    """Two hosts that stand in for each other."""
    first, second, *_ = shared_lab.hosts
    site.change_inventory({host.name: {"ottr_ha_group": "pair"} for host in (first, second)})
    return first, second


def test_members_of_a_group_are_never_rotated_at_once(site: Site, pair: tuple[Host, Host]) -> None:
    events: list[tuple[str, Step]] = []
    check_rotated(site.rotate(*pair, forced=True, watch=lambda device, step: events.append((device, step))))

    devices = [device for device, _ in events]
    half = len(events) // 2
    assert len(set(devices[:half])) == len(set(devices[half:])) == 1
    assert devices[0] != devices[-1]
    assert events[half - 1][1] is events[-1][1] is Step.RECORD


def test_the_other_member_is_left_alone_when_one_fails(site: Site, pair: tuple[Host, Host]) -> None:
    before = {host.name: served(host) for host in pair}
    counter = Counter(site.lab)
    for host in pair:
        write_script(reload_script(host), "exit 1")
    try:
        results = site.rotate(*pair, forced=True)
    finally:
        for host in pair:
            restore_reload(host)
    failed, skipped = results
    assert failed.outcome is Outcome.STRANDED
    assert (skipped.outcome, skipped.reason) == (Outcome.SKIPPED, "ha_peer_failed")
    assert failed.device != skipped.device
    assert counter.issued == 1
    for host in pair:
        await_served(host, before[host.name])


def test_a_member_another_orchestrator_works_on_stops_the_group_there(site: Site, pair: tuple[Host, Host]) -> None:
    first, _ = pair
    site.begin(first)
    counter = Counter(site.lab)
    with lease_holder(site, "ha_group:pair") as other:
        results = site.rotate(first, forced=True)
        assert [(one.outcome, one.reason) for one in results] == [(Outcome.SKIPPED, "leased")]
        assert results[0].error is not None
        assert str(other.pid) in results[0].error.message
    assert counter.orders == 0
    check_rotated(site.rotate(first, forced=True))


def test_hosts_with_the_same_names_get_a_certificate_each(site: Site, shared_lab: Lab) -> None:
    names = ["shared.lab.test", "www.shared.lab.test"]
    own = {"common_name": names[0], "subject_alternative_name": names}
    site.change_inventory({host.name: own for host in shared_lab.hosts})
    counter = Counter(site.lab)

    results = site.rotate(forced=True)
    check_rotated(results)
    check_all_served(site, shared_lab, results)
    assert counter.issued == len(shared_lab.hosts)
    assert len({served(host).spki_der for host in shared_lab.hosts}) == len(shared_lab.hosts)
    for name in names:
        assert site.lab.bind.txt(f"_acme-challenge.{name}") == frozenset()


def test_hosts_that_share_a_txt_name_do_not_lose_each_other_s_value(site: Site, shared_lab: Lab) -> None:
    """``*.x`` and ``x`` are proven at one name."""
    sets = (["*.x.lab.test"], ["x.lab.test"], ["x.lab.test", "*.x.lab.test"], ["a.x.lab.test", "x.lab.test"])
    site.change_inventory(
        {
            host.name: {"common_name": names[0], "subject_alternative_name": names}
            for host, names in zip(shared_lab.hosts, sets, strict=True)
        }
    )
    for _ in range(3):
        results = site.rotate(forced=True)
        check_rotated(results)
        check_all_served(site, shared_lab, results)
    for host, names in zip(shared_lab.hosts, sets, strict=True):
        assert set(site.current(host).dns_names) == set(names)
    assert site.lab.bind.txt("_acme-challenge.x.lab.test") == frozenset()


def test_a_batch_that_fails_is_the_last_one(site: Site, shared_lab: Lab) -> None:
    before = {host.name: served(host) for host in shared_lab.hosts}
    counter = Counter(site.lab)
    broken = shared_lab.hosts[0]
    write_script(reload_script(broken), "exit 1")
    try:
        results = site.rotate(forced=True, rollout=Rollout(forks=4, serial=["1"], max_fail_percentage=0))
    finally:
        restore_reload(broken)

    by_device = {result.device: result for result in results}
    assert by_device.pop(broken.name).outcome is Outcome.STRANDED
    assert {one.outcome for one in by_device.values()} == {Outcome.INTERRUPTED}
    assert {one.reason for one in by_device.values()} == {"max_fail_percentage was exceeded"}
    assert exit_status(results, limit_reached=True) is ExitStatus.STRANDED
    assert counter.issued == 1
    for host in shared_lab.hosts:
        await_served(host, before[host.name])


def test_batches_go_on_while_few_enough_fail(site: Site, shared_lab: Lab) -> None:
    broken = shared_lab.hosts[0]
    write_script(reload_script(broken), "exit 1")
    try:
        results = site.rotate(forced=True, rollout=Rollout(forks=4, serial=["50%"], max_fail_percentage=50))
    finally:
        restore_reload(broken)
    outcomes = {result.device: result.outcome for result in results}
    assert outcomes.pop(broken.name) is Outcome.STRANDED
    assert set(outcomes.values()) == {Outcome.ROTATED}


def test_nothing_begins_outside_a_maintenance_window(site: Site, shared_lab: Lab) -> None:
    host = shared_lab.hosts[0]
    counter = Counter(site.lab)
    soon = datetime.now(UTC) + timedelta(days=3)
    site.route["windows"] = [f"{soon:%a} 01:00-02:00 UTC"]
    [result] = site.rotate(host)
    assert (result.outcome, result.reason) == (Outcome.NOT_DUE, Reason.OUTSIDE_WINDOW)
    assert exit_status([result]) is ExitStatus.OK

    del site.route["windows"]
    yesterday, tomorrow = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
    freeze = {"start": yesterday.isoformat(), "end": tomorrow.isoformat(), "reason": "year's end"}
    site.settings["rotation"] = {"freezes": [freeze]}
    [result] = site.rotate(host)
    assert (result.outcome, result.reason) == (Outcome.NOT_DUE, Reason.OUTSIDE_WINDOW)
    assert counter.orders == 0

    del site.settings["rotation"]
    today = datetime.now(UTC)
    site.route["windows"] = [f"{today:%a} 00:00-24:00 UTC", f"{today + timedelta(days=1):%a} 00:00-24:00 UTC"]
    assert site.plan(host) == Reason.NEVER_ISSUED


def check_all_served(site: Site, lab: Lab, results: list[RotationResult]) -> None:
    """Every host serves what the run gave it."""
    for host in lab.hosts:
        current = site.current(host)
        assert current.sha256 == parse_certificate_of(results, host)
        await_served(host, current)
