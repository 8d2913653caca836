# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from ottr.dns.publisher import ZonePublisher
from ottr.dns.rfc2136 import Rfc2136Solver
from ottr.errors import DnsError, SettingsError
from ottr.lab.bind import Bind
from ottr.model import TxtRecord
from ottr.settings import SolverSettings


class Recorder:
    """A solver that notes what it is asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, TxtRecord]] = []

    def present(self, record: TxtRecord) -> None:
        self.calls.append(("present", record))

    def cleanup(self, record: TxtRecord) -> None:
        self.calls.append(("cleanup", record))


def test_fifty_hosts_publish_at_once_some_at_the_same_name(publisher: ZonePublisher, bind: Bind) -> None:
    """Hosts 0 to 9 share a name through wildcard and apex, the others have one each; all by one publisher."""

    def publish(number: int) -> TxtRecord:
        identifier = ("*." if number % 2 else "") + "crowd.lab.test" if number < 10 else f"c{number}.lab.test"
        record = TxtRecord(publisher.locate(identifier), f"value-{number}")
        publisher.present(record)
        publisher.wait(record)
        return record

    with ThreadPoolExecutor(50) as pool:
        records = list(pool.map(publish, range(50)))
        assert bind.txt("_acme-challenge.crowd.lab.test") == {f"value-{number}" for number in range(10)}
        list(pool.map(publisher.cleanup, records))
    assert {bind.txt(record.name) for record in records} == {frozenset()}


def test_a_delegated_name_is_written_where_its_alias_leads(publisher: ZonePublisher, bind: Bind) -> None:
    record = TxtRecord(publisher.locate("twice.lab.test"), "value")
    publisher.present(record)
    publisher.wait(record)
    assert bind.txt("twice.target.test") == {"value"}
    publisher.cleanup(record)
    assert bind.txt("twice.target.test") == frozenset()


def test_the_longest_zone_chooses_the_solver() -> None:
    wide, narrow = Recorder(), Recorder()
    publisher = ZonePublisher(
        [
            (SolverSettings("wide", "exec", ("example.com",)), wide),
            (SolverSettings("narrow", "exec", ("dc1.Example.com.", "other.net")), narrow),
        ]
    )
    inside, outside = TxtRecord("_acme-challenge.a.dc1.example.com", "v"), TxtRecord("a.xdc1.example.com", "v")
    publisher.present(inside)
    publisher.cleanup(outside)
    assert (narrow.calls, wide.calls) == ([("present", inside)], [("cleanup", outside)])
    assert publisher.solver_name(inside.name) == "narrow"


def test_a_name_without_solver_is_refused_with_the_zones_there_are(publisher: ZonePublisher) -> None:
    with pytest.raises(DnsError, match=r"writes the zone of a\.example\.com \(zones: inside\.lab\.test, lab") as caught:
        publisher.present(TxtRecord("a.example.com", "v"))
    assert "CNAME" in caught.value.hint
    with pytest.raises(DnsError, match=r"\(zones: none\)"):
        ZonePublisher([]).cleanup(TxtRecord("a.example.com", "v"))


def test_a_zone_in_two_solvers_is_refused() -> None:
    solvers = [(SolverSettings(name, "exec", ("example.com",)), Recorder()) for name in ("a", "b")]
    with pytest.raises(SettingsError, match=r"zone example\.com is in the solvers 'a' and 'b'"):
        ZonePublisher(solvers)


def test_a_probe_writes_sees_and_removes(publisher: ZonePublisher, bind: Bind) -> None:
    report = publisher.probe("*.twice.lab.test")
    assert report.aliases == ("_acme-challenge.twice.lab.test", "hop.lab.test", "twice.target.test")
    assert (report.name, report.zone, report.solver) == ("twice.target.test", "target.test", "lab")
    assert bind.txt(report.name) == frozenset()


def test_a_probe_that_fails_leaves_nothing(
    settings: SolverSettings, solver: Rfc2136Solver, bind: Bind, laggard: Bind
) -> None:
    slow = replace(settings, nameservers=(bind.server, laggard.server), propagation_timeout_s=0.1)
    with pytest.raises(DnsError, match=r"is missing on 1 of 2"):
        ZonePublisher([(slow, solver)]).probe("probe.lab.test")
    assert bind.txt("_acme-challenge.probe.lab.test") == frozenset()


def test_a_probe_tells_the_first_error(settings: SolverSettings, bind: Bind) -> None:
    class Broken(Recorder):
        def present(self, record: TxtRecord) -> None:
            raise DnsError("cannot add")

        def cleanup(self, record: TxtRecord) -> None:
            raise DnsError("cannot remove")

    with pytest.raises(DnsError, match="cannot add"):
        ZonePublisher([(settings, Broken())]).probe("probe.lab.test")
