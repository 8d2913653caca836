# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import dns.flags
import dns.nameserver
import dns.resolver
import pytest

from ottr.dns.publisher import ZonePublisher
from ottr.dns.resolver import Resolver, build_resolver
from ottr.dns.rfc2136 import Rfc2136Solver
from ottr.dns.servers import parse_server
from ottr.errors import DnsError, SettingsError
from ottr.lab.bind import Bind
from ottr.model import TxtRecord
from ottr.settings import SolverSettings


@pytest.fixture(params=["nameservers of the solver", "resolvers"])
def publisher(
    request: pytest.FixtureRequest, settings: SolverSettings, solver: Rfc2136Solver, bind: Bind
) -> ZonePublisher:
    """Both ways to look names up."""
    if request.param == "resolvers":
        return ZonePublisher([(replace(settings, nameservers=()), solver)], [bind.server])
    return ZonePublisher([(settings, solver)])


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("plain.lab.test", "_acme-challenge.plain.lab.test"),
        ("*.plain.lab.test", "_acme-challenge.plain.lab.test"),
        ("once.lab.test", "once.target.test"),
        ("*.Once.lab.test.", "once.target.test"),
        ("twice.lab.test", "twice.target.test"),
        ("ten.lab.test", "ten10.lab.test"),
    ],
)
def test_aliases_are_followed(publisher: ZonePublisher, identifier: str, name: str) -> None:
    assert publisher.locate(identifier) == name


def test_a_loop_is_refused(publisher: ZonePublisher) -> None:
    with pytest.raises(DnsError, match=r"CNAME of loop2\.lab\.test leads back to _acme-challenge\.loop\.lab\.test"):
        publisher.locate("loop.lab.test")


def test_too_many_aliases_are_refused(publisher: ZonePublisher) -> None:
    with pytest.raises(DnsError, match=r"_acme-challenge\.deep\.lab\.test has more than 10 CNAMEs"):
        publisher.locate("deep.lab.test")


def test_resolvers_that_refuse_are_named(publisher: ZonePublisher, settings: SolverSettings, bind: Bind) -> None:
    resolver = build_resolver([bind.server], [settings])
    with pytest.raises(DnsError, match=r"CNAME of a\.elsewhere\.test cannot be looked up .*: REFUSED") as caught:
        resolver.fetch("a.elsewhere.test", "CNAME")
    assert bind.address in str(caught.value)
    assert "resolvers" in caught.value.hint


def test_resolvers_that_say_nothing_are_named(scripted: Callable[..., Any]) -> None:
    silent = scripted(lambda wire: None)
    resolver = Resolver([parse_server(silent.server)])
    resolver._recursive.lifetime = 0.3
    with pytest.raises(DnsError, match=r"cannot be looked up .*no answer in time"):
        resolver.fetch("a.elsewhere.test", "CNAME")


def test_a_machine_without_resolvers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr("dns.resolver.Resolver.read_resolv_conf", refuse)
    with pytest.raises(DnsError, match=r"resolvers: none\): there is no resolver"):
        Resolver().fetch("a.elsewhere.test", "CNAME")


@pytest.fixture
def system_resolver(scripted: Callable[..., Any], say: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Stands for the resolver that /etc/resolv.conf names."""
    server = scripted(say("NOERROR", "known.to.system.", kind="CNAME", flags=dns.flags.RA))

    def read(resolver: Any, _: object) -> None:
        resolver.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", server.port)]

    monkeypatch.setattr("dns.resolver.Resolver.read_resolv_conf", read)
    return server


def test_what_the_zone_servers_do_not_hold_is_asked_of_the_system(
    system_resolver: Any, settings: SolverSettings
) -> None:
    resolver = build_resolver([], [settings])
    delegated = resolver.fetch("a.below.lab.test", "CNAME")
    foreign = resolver.fetch("a.elsewhere.test", "CNAME")
    assert [str(records[0].target) for records in (delegated, foreign) if records] == ["known.to.system."] * 2
    assert resolver.fetch("a.lab.test", "CNAME") is None


def test_aliases_within_the_answer_of_a_zone_server_are_followed(
    system_resolver: Any, settings: SolverSettings, solver: Rfc2136Solver
) -> None:
    solver.present(TxtRecord("ten10.lab.test", "value"))
    resolver = build_resolver([], [settings])
    inside = resolver.fetch("ten9.lab.test", "TXT")
    assert inside
    assert [rdata.strings for rdata in inside] == [(b"value",)]
    assert system_resolver.asked == 0
    resolver.fetch("_acme-challenge.outside.lab.test", "TXT")
    assert system_resolver.asked > 0


def test_a_zone_server_that_is_down_gives_way_to_the_next(settings: SolverSettings, bind: Bind) -> None:
    resolver = build_resolver([], [replace(settings, nameservers=("127.0.0.1:1", bind.server))])
    records = resolver.fetch("_acme-challenge.once.lab.test", "CNAME")
    assert records
    assert str(records[0].target) == "once.target.test."


@pytest.mark.parametrize("flags", [0, dns.flags.AA | dns.flags.TC])
def test_half_answers_of_zone_servers_are_not_taken(
    system_resolver: Any, scripted: Callable[..., Any], say: Callable[..., Any], flags: int
) -> None:
    half = scripted(say("NOERROR", flags=flags))
    resolver = Resolver((), {"lab.test": (parse_server(half.server),)})
    records = resolver.fetch("a.lab.test", "CNAME")
    assert records
    assert str(records[0].target) == "known.to.system."


def test_a_resolver_that_is_no_address_is_refused(settings: SolverSettings, solver: Rfc2136Solver) -> None:
    with pytest.raises(SettingsError, match="resolvers: 'dns1' is not an IP address"):
        ZonePublisher([(settings, solver)], ["dns1"])
    with pytest.raises(SettingsError, match="solver 'lab': nameservers: 'ns1' is not an IP address"):
        ZonePublisher([(replace(settings, nameservers=("ns1",)), solver)])
