# SPDX-License-Identifier: Apache-2.0
"""The embedded lab's DNS, asked and changed by dnspython, nsupdate and Ottr's own solver."""

from __future__ import annotations

import base64
import socket
import subprocess
from collections.abc import Iterator

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import pytest

from ottr.dns.rfc2136 import Rfc2136Solver
from ottr.dns.servers import ServerAddress
from ottr.errors import DnsError
from ottr.lab.embedded.dns import DnsServer, Zones
from ottr.lab.network import Network
from ottr.model import TxtRecord

SECRET = base64.b64encode(b"a secret of the tests alone, 32b").decode()
KEY = dns.tsig.Key(dns.name.from_text("ottr-lab"), SECRET, "hmac-sha256")
ZONES = ("lab.test", "deep.lab.test")


@pytest.fixture(scope="module")
def server(network: Network) -> Iterator[DnsServer]:
    address = network.address(1150)
    with DnsServer(address, 5353, Zones(ZONES, address), KEY) as running:
        yield running


def ask(server: DnsServer, name: str, kind: str, *, tcp: bool = False) -> dns.message.Message:
    transport = dns.query.tcp if tcp else dns.query.udp
    return transport(dns.message.make_query(name, kind), server.address, timeout=10, port=server.port)


def texts(server: DnsServer, name: str) -> set[str]:
    return {value.strings[0].decode() for found in ask(server, name, "TXT", tcp=True).answer for value in found}


def send(server: DnsServer, update: dns.update.UpdateMessage) -> str:
    answer = dns.query.udp(update, server.address, timeout=10, port=server.port)
    return dns.rcode.to_text(answer.rcode())


def start_update(zone: str = "lab.test", key: dns.tsig.Key | None = KEY) -> dns.update.UpdateMessage:
    return dns.update.UpdateMessage(zone, keyring=key)


def test_values_of_one_name_come_and_go_singly(server: DnsServer) -> None:
    solver = Rfc2136Solver(("lab.test",), ServerAddress(server.address, server.port), KEY)
    one, two = (TxtRecord("_acme-challenge.single.lab.test", value) for value in ("one", "two"))

    for record in (one, two, two):
        solver.present(record)
    assert texts(server, one.name) == {"one", "two"}
    for _ in range(2):
        solver.cleanup(one)
    assert texts(server, one.name) == {"two"}
    solver.cleanup(two)
    assert dns.rcode.to_text(ask(server, one.name, "TXT").rcode()) == "NXDOMAIN"


def test_nsupdate_is_understood(server: DnsServer) -> None:
    lines = [
        f"server {server.address} {server.port}",
        "zone lab.test",
        "update add alias.lab.test 60 CNAME target.lab.test",
        "update add target.lab.test 60 A 192.0.2.1",
        "update add target.lab.test 60 A 192.0.2.2",
        "update delete absent.lab.test",
        "send",
    ]
    command = ["nsupdate", "-y", f"hmac-sha256:ottr-lab:{SECRET}"]
    subprocess.run(command, input="\n".join(lines), text=True, check=True, capture_output=True)

    answer = ask(server, "alias.lab.test", "A")
    assert [dns.rdatatype.to_text(found.rdtype) for found in answer.answer] == ["CNAME", "A"]
    assert {value.address for value in answer.answer[1]} == {"192.0.2.1", "192.0.2.2"}
    assert [dns.rdatatype.to_text(found.rdtype) for found in ask(server, "alias.lab.test", "CNAME").answer] == ["CNAME"]


@pytest.mark.parametrize(
    ("name", "kind", "rcode", "answers"),
    [
        ("lab.test", "SOA", "NOERROR", 1),
        ("deep.lab.test", "NS", "NOERROR", 1),
        ("ns1.lab.test", "A", "NOERROR", 1),
        ("ns1.lab.test", "TXT", "NOERROR", 0),
        ("nothing.lab.test", "A", "NXDOMAIN", 0),
        ("elsewhere.test", "A", "REFUSED", 0),
    ],
)
def test_answers_have_authority_or_say_why_there_is_none(
    server: DnsServer, name: str, kind: str, rcode: str, answers: int
) -> None:
    answer = ask(server, name, kind)

    assert (dns.rcode.to_text(answer.rcode()), len(answer.answer)) == (rcode, answers)
    assert bool(answer.flags & dns.flags.AA) is (rcode != "REFUSED")
    if rcode != "REFUSED" and not answers:
        assert [found.rdtype for found in answer.authority] == [dns.rdatatype.SOA]


def test_a_name_between_a_zone_and_a_record_exists(server: DnsServer) -> None:
    update = start_update()
    update.add("_acme-challenge.below.lab.test.", 60, "TXT", "value")
    assert send(server, update) == "NOERROR"

    assert dns.rcode.to_text(ask(server, "below.lab.test", "TXT").rcode()) == "NOERROR"


def test_every_change_has_a_serial_of_its_own(server: DnsServer) -> None:
    def serial() -> int:
        return ask(server, "deep.lab.test", "SOA").answer[0][0].serial

    before = serial()
    update = start_update("deep.lab.test")
    update.add("more.deep.lab.test.", 60, "TXT", "value")
    assert send(server, update) == "NOERROR"
    assert serial() == before + 1


def test_a_zone_keeps_what_makes_it_one(server: DnsServer) -> None:
    update = start_update()
    update.delete("lab.test.")
    update.delete("lab.test.", "NS")
    update.delete("lab.test.", "SOA")
    assert send(server, update) == "NOERROR"

    assert ask(server, "lab.test", "SOA").answer
    assert ask(server, "lab.test", "NS").answer


def test_a_whole_name_and_a_whole_type_can_be_deleted(server: DnsServer) -> None:
    update = start_update()
    for kind, value in (("TXT", "one"), ("TXT", "two"), ("A", "192.0.2.9")):
        update.add("whole.lab.test.", 60, kind, value)
    assert send(server, update) == "NOERROR"
    update = start_update()
    update.delete("whole.lab.test.", "TXT")
    assert send(server, update) == "NOERROR"
    assert texts(server, "whole.lab.test") == set()
    assert ask(server, "whole.lab.test", "A").answer
    update = start_update()
    update.delete("whole.lab.test.")
    assert send(server, update) == "NOERROR"
    assert dns.rcode.to_text(ask(server, "whole.lab.test", "A").rcode()) == "NXDOMAIN"


def test_an_answer_too_long_for_a_datagram_is_cut_and_whole_over_tcp(server: DnsServer) -> None:
    values = {f"{number:03}" + "x" * 200 for number in range(20)}
    update = start_update()
    for value in values:
        update.add("long.lab.test.", 60, "TXT", value)
    dns.query.tcp(update, server.address, timeout=10, port=server.port)

    assert ask(server, "long.lab.test", "TXT").flags & dns.flags.TC
    assert texts(server, "long.lab.test") == values


def refused_updates() -> Iterator[tuple[str, dns.update.UpdateMessage]]:
    unsigned = start_update(key=None)
    outside = start_update()
    outside.add("_acme-challenge.elsewhere.test.", 60, "TXT", "value")
    first_of_two = start_update()
    first_of_two.add("half.lab.test.", 60, "TXT", "value")
    first_of_two.add("half.elsewhere.test.", 60, "TXT", "value")
    conditional = start_update()
    conditional.present("ns1.lab.test.")
    yield "REFUSED", unsigned
    yield "NOTAUTH", start_update("elsewhere.test")
    yield "NOTZONE", outside
    yield "NOTZONE", first_of_two
    yield "NOTIMP", conditional


@pytest.mark.parametrize(("word", "update"), list(refused_updates()))
def test_updates_that_are_not_taken_change_nothing(
    server: DnsServer, word: str, update: dns.update.UpdateMessage
) -> None:
    assert send(server, update) == word
    assert texts(server, "half.lab.test") == set()


@pytest.mark.parametrize("name", ["ottr-lab", "another"])
def test_another_key_is_refused(server: DnsServer, name: str) -> None:
    key = dns.tsig.Key(dns.name.from_text(name), base64.b64encode(b"another secret").decode(), "hmac-sha256")
    solver = Rfc2136Solver(("lab.test",), ServerAddress(server.address, server.port), key)

    with pytest.raises(DnsError, match=r"_acme-challenge\.key\.lab\.test"):
        solver.present(TxtRecord("_acme-challenge.key.lab.test", "value"))
    assert texts(server, "_acme-challenge.key.lab.test") == set()


def test_what_is_no_question_is_answered_with_its_number_and_nothing_else(server: DnsServer) -> None:
    notify = dns.message.make_query("lab.test", "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    none = dns.message.make_query("lab.test", "SOA")
    none.question.clear()
    words = []
    for wire in (notify.to_wire(), none.to_wire(), b"\0\7\0\0\0\1\0\0\0\0\0\0garbage"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.sendto(wire, (server.address, server.port))
            answer = client.recv(512)
        assert answer[:2] == wire[:2]
        words.append(dns.rcode.to_text(dns.rcode.Rcode(answer[3] & 15)))
    assert words == ["NOTIMP", "FORMERR", "FORMERR"]
    assert server.respond(b"short") == b""
    assert server.respond(ask(server, "lab.test", "SOA").to_wire()) == b""


def test_a_port_that_is_taken_is_said_so(server: DnsServer) -> None:
    with pytest.raises(OSError, match="in use"):
        DnsServer(server.address, server.port, Zones(ZONES, server.address), KEY).start()
