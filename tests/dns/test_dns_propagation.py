# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.opcode
import dns.query
import pytest

from ottr.dns import exchange
from ottr.dns.authority import Authorities, NameServer
from ottr.dns.propagation import wait_for_value
from ottr.dns.publisher import ZonePublisher
from ottr.dns.resolver import Resolver
from ottr.dns.rfc2136 import Rfc2136Solver
from ottr.dns.servers import ServerAddress, parse_server
from ottr.errors import DnsError
from ottr.lab.bind import Bind
from ottr.model import TxtRecord
from ottr.settings import SolverSettings


def name_server(*addresses: str, name: str = "ns.lab.test") -> NameServer:
    return NameServer(name, tuple(parse_server(address) for address in addresses))


def wait(record: TxtRecord, *servers: NameServer, timeout_s: float = 0.3, **options: Any) -> None:
    wait_for_value(record, servers, timeout_s=timeout_s, interval_s=0.05, **options)


def notify(server: Bind, zone: str) -> None:
    """Tell a secondary that its zone has changed (RFC 1996)."""
    message = dns.message.make_query(zone, "SOA", flags=dns.flags.AA)
    message.set_opcode(dns.opcode.NOTIFY)
    dns.query.udp(message, server.address, port=server.port, timeout=5)


def test_a_server_that_lags_is_waited_for(
    settings: SolverSettings, solver: Rfc2136Solver, bind: Bind, laggard: Bind
) -> None:
    """Every server has to have the value: the wait ends when the last one is told, not before."""
    record = TxtRecord("_acme-challenge.lag.lab.test", "value")
    both = replace(settings, nameservers=(bind.server, laggard.server))
    waits: list[float] = []

    def waiter(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            notify(laggard, "lab.test")
        time.sleep(seconds)

    publisher = ZonePublisher([(both, solver)], waiter=waiter)
    publisher.present(record)
    publisher.wait(record)
    assert laggard.txt(record.name) == {"value"}
    assert len(waits) >= 3
    assert waits == sorted(waits)
    assert max(waits) <= both.propagation_interval_s


def test_the_server_without_the_value_is_named(
    settings: SolverSettings, solver: Rfc2136Solver, bind: Bind, laggard: Bind
) -> None:
    both = replace(settings, nameservers=(bind.server, laggard.server), propagation_timeout_s=0.3)
    publisher = ZonePublisher([(both, solver)])
    record = TxtRecord("_acme-challenge.never.lab.test", "value")
    publisher.present(record)
    with pytest.raises(DnsError) as caught:
        publisher.wait(record)
    assert str(caught.value) == (
        "the value at _acme-challenge.never.lab.test is missing on 1 of 2 authoritative server(s) after 0.3 s: "
        f"{laggard.server} answers NXDOMAIN over UDP"
    )
    assert "propagation_timeout_s" in caught.value.hint


def test_other_values_are_not_ours(bind: Bind, solver: Rfc2136Solver) -> None:
    record = TxtRecord("_acme-challenge.other.lab.test", "value")
    solver.present(replace(record, value="other"))
    with pytest.raises(DnsError, match=rf"ns\.lab\.test \({bind.server}\) has 1 other TXT value\(s\) over UDP"):
        wait(record, name_server(bind.server))


def test_many_values_are_seen_over_tcp(bind: Bind, solver: Rfc2136Solver) -> None:
    """Fifty hosts that share one name: too much for UDP."""
    records = [TxtRecord("_acme-challenge.many.lab.test", f"{number:02}" * 21) for number in range(50)]
    for record in records:
        solver.present(record)
    for record in records:
        wait(record, name_server(bind.server))
    with pytest.raises(DnsError, match="has 50 other TXT value"):
        wait(replace(records[0], value="missing"), name_server(bind.server))


def test_a_server_without_tcp_is_not_enough(scripted: Callable[..., Any], say: Callable[..., Any]) -> None:
    server = scripted(say("NOERROR", '"value"'))
    with pytest.raises(DnsError, match=r"gave no answer \(connection refused\) over TCP"):
        wait(TxtRecord("a.lab.test", "value"), name_server(server.server))


def test_a_silent_server_is_named(scripted: Callable[..., Any], say: Callable[..., Any]) -> None:
    server = scripted(lambda wire: None)
    with pytest.raises(DnsError, match=r"gave no answer \(no answer in time\) over UDP"):
        wait(TxtRecord("a.lab.test", "value"), name_server(server.server))


def test_an_empty_answer_is_told(scripted: Callable[..., Any], say: Callable[..., Any]) -> None:
    server = scripted(say("NOERROR"))
    with pytest.raises(DnsError, match="has no TXT there over UDP"):
        wait(TxtRecord("a.lab.test", "value"), name_server(server.server))


def test_values_in_several_strings_are_joined(scripted: Callable[..., Any], say: Callable[..., Any]) -> None:
    reply = say("NOERROR", '"val" "ue"')
    wait(TxtRecord("a.lab.test", "value"), name_server(scripted(reply, reply).server))


def test_an_address_this_machine_cannot_reach_is_forgiven_if_another_answers(
    bind: Bind, solver: Rfc2136Solver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a machine without IPv6."""

    def open_socket(server: ServerAddress, kind: socket.SocketKind) -> socket.socket:
        if ":" in server.address:
            raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
        return really_open(server, kind)

    really_open = exchange.open_socket
    monkeypatch.setattr(exchange, "open_socket", open_socket)
    record = TxtRecord("_acme-challenge.v6.lab.test", "value")
    solver.present(record)
    wait(record, name_server("2001:db8::1", bind.server))
    second = r"second \(\[2001:db8::1\]:53\) gave no answer \(address family not supported"
    with pytest.raises(DnsError, match=rf"missing on 1 of 2 .*{second}"):
        wait(record, name_server(bind.server), name_server("2001:db8::1", name="second"))


def test_an_address_that_refuses_is_not_forgiven(bind: Bind, solver: Rfc2136Solver) -> None:
    record = TxtRecord("_acme-challenge.refuse.lab.test", "value")
    solver.present(record)
    with pytest.raises(DnsError, match=r"127\.0\.0\.1:1\) gave no answer"):
        wait(record, name_server("127.0.0.1:1", bind.server))


def test_the_servers_of_a_zone_come_from_its_ns_records(other_port: int, tmp_path: Path) -> None:
    records = [
        "ns.test. IN NS ns9.ns.test.",
        "ns9.ns.test. IN A 127.0.0.9",
        "ns9.ns.test. IN AAAA ::1",
        "nowhere.test. IN NS missing.ns.test.",
    ]
    zones = ("ns.test", "nowhere.test")
    with Bind(tmp_path / "ns", "127.0.0.1", other_port, zones=zones, records=records) as bind:
        authorities = Authorities(Resolver([parse_server(bind.server)]))
        settings = SolverSettings("lab", "rfc2136", ("ns.test",))
        found = {server.name: server.addresses for server in authorities.find(settings, "ns.test")}
        assert found == {
            "ns1.ns.test": (ServerAddress("127.0.0.1"),),
            "ns9.ns.test": (ServerAddress("127.0.0.9"), ServerAddress("::1")),
        }
        with pytest.raises(DnsError, match=r"the name server missing\.ns\.test has no address"):
            authorities.find(settings, "nowhere.test")
        with pytest.raises(DnsError, match=r"www\.ns\.test has no NS records") as caught:
            authorities.find(settings, "www.ns.test")
        assert "nameservers" in caught.value.hint


def test_fifty_threads_look_a_zone_up_once(scripted: Callable[..., Any], say: Callable[..., Any]) -> None:
    asked: list[bytes] = []
    to_ns, to_address, nothing = say("NOERROR", "ns1.x.test.", kind="NS"), say("NOERROR", "127.0.0.1", kind="A"), say()

    def reply(wire: bytes) -> bytes:
        asked.append(wire)
        return {2: to_ns, 1: to_address}.get(dns.message.from_wire(wire).question[0].rdtype, nothing)(wire)

    authorities = Authorities(Resolver([parse_server(scripted(reply).server)]))
    settings = SolverSettings("lab", "rfc2136", ("x.test",))
    barrier = threading.Barrier(50)

    def find(_: int) -> tuple[NameServer, ...]:
        barrier.wait(10)
        return authorities.find(settings, "x.test")

    with ThreadPoolExecutor(50) as pool:
        found = set(pool.map(find, range(50)))
    assert found == {(NameServer("ns1.x.test", (ServerAddress("127.0.0.1"),)),)}
    assert len(asked) == 3


def test_the_wait_ends_in_time_whatever_the_interval(scripted: Callable[..., Any], say: Callable[..., Any]) -> None:
    waits: list[float] = []

    def waiter(seconds: float) -> None:
        waits.append(seconds)
        time.sleep(seconds)

    with pytest.raises(DnsError):
        wait_for_value(
            TxtRecord("a.lab.test", "value"),
            [name_server(scripted(say("NXDOMAIN")).server)],
            timeout_s=0.2,
            interval_s=100,
            waiter=waiter,
        )
    assert sum(waits) <= 0.2
