# SPDX-License-Identifier: Apache-2.0
"""The state in PostgreSQL: a fleet is rotated, a run dies, another one goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ottr.lab import Lab
from ottr.lab.postgresql import Postgresql, run_postgresql
from ottr.model import Outcome, Step
from ottr.policy import Reason
from ottr.report import ExitStatus
from tests.acceptance import killing
from tests.acceptance.faults import (
    Counter,
    Site,
    at,
    await_served,
    check_failed,
    check_recovers,
    check_rotated,
    in_child,
)


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


@pytest.mark.parametrize("step", [Step.CSR, Step.INSTALL, Step.VERIFY])
def test_a_database_that_goes_away_loses_nothing(
    site: Site, shared_lab: Lab, postgresql: Postgresql, step: Step
) -> None:
    host = shared_lab.hosts[0]
    former = site.begin(host)
    counter = Counter(shared_lab)
    url = Path(site.settings["state"]["url"]["file"]).read_text().strip()
    database = url.rpartition("/")[2]

    def cut() -> None:
        administer(postgresql, f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        administer(postgresql, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")

    words = check_failed(
        in_child(lambda: site.rotate(host, forced=True, watch=at(step, cut))),
        Outcome.FAILED,
        "JournalError",
        ExitStatus.UNEXPECTED,
    )
    assert postgresql.password not in words
    await_served(host, former)

    administer(postgresql, f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    check_recovers(site, host, former, site.resume())
    assert counter.issued == 1


def administer(postgresql: Postgresql, statement: str) -> None:
    """Say something to the server by another database."""
    with psycopg.connect(postgresql.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(statement)  # type: ignore[call-overload]
