# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import dns.flags
import dns.message
import pytest

from ottr.dns.rfc2136 import Rfc2136Solver, build_solver
from ottr.dns.servers import ServerAddress, parse_server
from ottr.dns.solvers import load_solver
from ottr.errors import DnsError, SettingsError
from ottr.lab.bind import Bind
from ottr.model import Secret, TxtRecord
from ottr.settings import SolverSettings


def options(settings: SolverSettings, **changes: Any) -> SolverSettings:
    return replace(settings, options={**settings.options, **changes})


def test_single_values_are_added_and_removed(solver: Rfc2136Solver, bind: Bind) -> None:
    ours, others = TxtRecord("_acme-challenge.one.lab.test", "ours"), TxtRecord("_acme-challenge.one.lab.test", "other")
    solver.present(others)
    solver.present(ours)
    solver.present(ours)
    assert bind.txt(ours.name) == {"ours", "other"}
    solver.cleanup(ours)
    solver.cleanup(ours)
    assert bind.txt(ours.name) == {"other"}


def test_the_longest_zone_is_written(solver: Rfc2136Solver, bind: Bind) -> None:
    record = TxtRecord("_acme-challenge.inside.lab.test", "value")
    solver.present(record)
    assert bind.txt(record.name) == {"value"}


def test_many_threads_at_one_name_lose_no_value(solver: Rfc2136Solver, bind: Bind) -> None:
    records = [TxtRecord("_acme-challenge.shared.lab.test", f"value-{number:02}") for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        list(pool.map(solver.present, records))
        assert bind.txt(records[0].name) == {record.value for record in records}
        list(pool.map(solver.cleanup, records[1:]))
    assert bind.txt(records[0].name) == {records[0].value}


def test_tcp_alone_works(settings: SolverSettings, scripted: Callable[..., Any], relay: Any, bind: Bind) -> None:
    server = scripted(lambda wire: None, relay)
    record = TxtRecord("_acme-challenge.tcp.lab.test", "value")
    load_solver(options(settings, tcp=True, server=server.server)).present(record)
    assert bind.txt(record.name) == {"value"}
    assert server.asked == 1


def test_a_lost_datagram_is_sent_again_over_tcp(
    solver: Rfc2136Solver, scripted: Callable[..., Any], relay: Any, bind: Bind
) -> None:
    server = scripted(lambda wire: None, relay)
    record = TxtRecord("_acme-challenge.lost.lab.test", "value")
    replace(solver, server=parse_server(server.server), timeout_s=2).present(record)
    assert bind.txt(record.name) == {"value"}
    assert server.asked == 2


def test_a_server_that_is_down_is_named(solver: Rfc2136Solver) -> None:
    down = replace(solver, server=ServerAddress("127.0.0.1", 1), timeout_s=0.2)
    with pytest.raises(DnsError, match=r"127\.0\.0\.1:1 did not take the update of a\.lab\.test: .*refused") as caught:
        down.present(TxtRecord("a.lab.test", "value"))
    assert "firewall" in caught.value.hint
    assert caught.value.retryable


def test_a_server_that_says_nothing_is_given_up(solver: Rfc2136Solver, scripted: Callable[..., Any]) -> None:
    silent = scripted(lambda wire: None, lambda wire: None)
    with pytest.raises(DnsError, match="did not take the update of a"):
        replace(solver, server=parse_server(silent.server), timeout_s=0.2).present(TxtRecord("a.lab.test", "value"))


OTHER_SECRET = base64.b64encode(b"x" * 32).decode()


@pytest.mark.parametrize(
    ("changes", "word", "hint"),
    [
        ({"key_secret": Secret(OTHER_SECRET)}, "BADSIG", "key_secret"),
        ({"key_name": "other-key"}, "BADKEY", "key_name"),
        ({"algorithm": "hmac-sha512"}, "BADKEY", "algorithm"),
    ],
)
def test_a_wrong_key_is_explained(
    settings: SolverSettings, changes: Mapping[str, object], word: str, hint: str, bind: Bind
) -> None:
    record = TxtRecord("_acme-challenge.key.lab.test", "value")
    with pytest.raises(DnsError, match=f"refused the update of {record.name}: {word}") as caught:
        load_solver(options(settings, **changes)).present(record)
    assert hint in caught.value.hint
    assert bind.txt(record.name) == frozenset()
    assert bind.tsig_secret not in f"{caught.value} {caught.value.hint}"
    assert OTHER_SECRET not in f"{caught.value} {caught.value.hint}"


def test_a_zone_the_server_does_not_have_is_explained(settings: SolverSettings) -> None:
    solver = load_solver(replace(settings, zones=("foreign.test",)))
    with pytest.raises(DnsError, match=r"refused the update of a\.foreign\.test: NOTAUTH") as caught:
        solver.present(TxtRecord("a.foreign.test", "value"))
    assert "primary" in caught.value.hint


def test_an_unsigned_success_is_not_believed(
    solver: Rfc2136Solver, scripted: Callable[..., Any], say: Callable[..., Any]
) -> None:
    server = scripted(say("NOERROR"))
    with pytest.raises(DnsError, match="is not signed"):
        replace(solver, server=parse_server(server.server)).present(TxtRecord("a.lab.test", "value"))


def test_a_signed_message_that_is_no_answer_is_not_believed(
    solver: Rfc2136Solver, scripted: Callable[..., Any]
) -> None:
    def reply(wire: bytes) -> bytes:
        response = dns.message.make_response(dns.message.from_wire(wire, keyring=solver.key))
        response.flags &= ~dns.flags.QR
        return response.to_wire()

    server = scripted(reply, reply)
    with pytest.raises(DnsError, match="did not take the update"):
        replace(solver, server=parse_server(server.server)).present(TxtRecord("a.lab.test", "value"))


def test_a_name_outside_the_zones_is_refused(solver: Rfc2136Solver) -> None:
    with pytest.raises(DnsError, match=r"is in none of the zones lab\.test, inside\.lab\.test, target\.test"):
        solver.present(TxtRecord("a.example.com", "value"))


def test_the_secret_does_not_show(solver: Rfc2136Solver, bind: Bind) -> None:
    assert bind.tsig_secret not in repr(solver)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"server": "ns1.lab.test"}, "option 'server': 'ns1.lab.test' is not an IP address"),
        ({"key_name": "a..b"}, "option 'key_name' is no DNS name"),
        ({"key_secret": Secret("not base64!x")}, "option 'key_secret' is not base64"),
        ({"algorithm": "hmac-md5"}, "option 'algorithm' is 'hmac-md5'; it must be one of hmac-sha1"),
        ({"ttl": 3600}, "option 'ttl' must be a number from 0 to 60"),
        ({"password": "x"}, "there is no option 'password'"),
    ],
)
def test_wrong_options_are_refused(settings: SolverSettings, changes: Mapping[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        build_solver(options(settings, **changes))
    assert "solver 'lab'" in str(caught.value)
    assert "not base64!x" not in str(caught.value)
