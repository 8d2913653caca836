# SPDX-License-Identifier: Apache-2.0
"""The state in PostgreSQL: a fleet is rotated, a run dies, another one goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ottr.lab import Lab
from ottr.lab.postgresql import Postgresql, run_postgresql
from ottr.model import Outcome
from ottr.policy import Reason
from ottr.report import STATE_LOST, ExitStatus
from tests.acceptance import killing
from tests.acceptance.faults import Counter, Site, await_served, check_failed, check_recovers, check_rotated


@pytest.fixture(scope="module")
def postgresql(shared_lab: Lab) -> Iterator[Postgresql]:
    with run_postgresql(shared_lab.network.address(500)) as running:
        yield running


@pytest.fixture
def site(shared_lab: Lab, tmp_path: Path, postgresql: Postgresql) -> Site:
    site = Site(shared_lab, tmp_path / "site")
    url = site.folder / "state.url"
    url.touch(mode=0o600)
    url.write_text(f"{postgresql.create_database(tmp_path.name.replace('-', '_'))}\n")
    site.settings["state"] = {"folder": "state", "url": {"file": str(url)}}
    return site


def test_a_fleet_is_rotated_and_resumed_after_a_kill(site: Site, shared_lab: Lab, tmp_path: Path) -> None:
    check_rotated(site.rotate())
    before = {host.name: site.current(host) for host in shared_lab.hosts}
    assert {one.reason for one in site.rotate()} == {Reason.NOT_DUE}
    counter = Counter(shared_lab)

    log = tmp_path / "log"
    assert killing.run(site.write(), killing.rotate, log, 150) == -9, log.read_text()
    results = site.resume()
    check_rotated(results)
    for result in results:
        host = next(host for host in shared_lab.hosts if host.name == result.device)
        check_recovers(site, host, before[host.name], [result])
    assert len(results) == counter.issued <= len(shared_lab.hosts)
    for host in shared_lab.hosts:
        await_served(host, site.current(host))


def test_a_database_that_is_down_stops_the_run(site: Site, shared_lab: Lab, postgresql: Postgresql) -> None:
    host = shared_lab.hosts[0]
    former = site.begin(host)
    counter = Counter(shared_lab)

    with site.opened() as app:
        from ottr.orchestrator.runner import Rollout, Stop
        from ottr.service import Selection

        results = app.service.rotate(Selection(host.name), Rollout(), Stop(), forced=True)
        assert app.service.plan(Selection(host.name))
        postgresql.process.stop()
        try:
            failed = list(results)
        except Exception as error:
            assert type(error).__name__ == "JournalError", repr(error)
        else:
            words = check_failed(failed, Outcome.FAILED, "JournalError", ExitStatus.UNEXPECTED)
            assert failed[0].reason == STATE_LOST
            assert postgresql.password not in words
        finally:
            postgresql.process.__enter__()
    assert counter.orders == 0
    await_served(host, former)
    check_recovers(site, host, former, site.rotate(host, forced=True))
