# SPDX-License-Identifier: Apache-2.0
"""Messages on the wire, and what is told from an answer without taking it apart."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rrset
import pytest

from ottr.dns.exchange import exchange
from ottr.dns.question import Answer, ask
from ottr.dns.servers import ServerAddress, describe_error, parse_server

NAME = "_acme-challenge.web1.lab.test"
VALUE = "K" * 43
LOCAL = "127.0.0.1"


@pytest.fixture
def one_stream() -> Iterator[Callable[[Callable[[socket.socket], None]], ServerAddress]]:
    """A server that does with one connection what a test says."""
    with socket.create_server((LOCAL, 0)) as listener:
        threads: list[threading.Thread] = []

        def serve(talk: Callable[[socket.socket], None]) -> ServerAddress:
            def accept() -> None:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65535)
                    talk(connection)

            threads.append(threading.Thread(target=accept))
            threads[0].start()
            return ServerAddress(LOCAL, listener.getsockname()[1])

        yield serve
        for thread in threads:
            thread.join()


def test_an_answer_to_another_question_is_passed_over() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOCAL, 0))

        def talk() -> None:
            query, peer = server.recvfrom(512)
            server.sendto(b"\0\1 an old one", peer)
            server.sendto(query[:2] + b" ours", peer)

        thread = threading.Thread(target=talk)
        thread.start()
        assert exchange(b"\7\7?", ServerAddress(LOCAL, server.getsockname()[1]), 5) == b"\7\7 ours"
        thread.join()


def test_other_answers_do_not_prolong_the_wait() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOCAL, 0))
        over = threading.Event()

        def talk() -> None:
            _, peer = server.recvfrom(512)
            while not over.wait(0.01):
                server.sendto(b"\0\1 another's", peer)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            with pytest.raises(TimeoutError) as caught:
                exchange(b"\7\7?", ServerAddress(LOCAL, server.getsockname()[1]), 0.1)
        finally:
            over.set()
            thread.join()
        assert describe_error(caught.value) == "no answer in time"


def test_a_silent_server_is_given_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOCAL, 0))
        with pytest.raises(TimeoutError) as caught:
            exchange(b"\7\7?", ServerAddress(LOCAL, server.getsockname()[1]), 0.05)
    assert describe_error(caught.value) == "no answer in time"


def test_no_time_at_all_is_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        exchange(b"\7\7?", ServerAddress(LOCAL, 9), 0.0)


def test_a_message_in_pieces_is_put_together(one_stream: Callable[..., ServerAddress]) -> None:
    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in (b"\0", b"\6", b"\7\7a", b"bcd"):
            connection.sendall(piece)

    assert exchange(b"\7\7?", one_stream(talk), 5, tcp=True) == b"\7\7abcd"


def test_a_message_that_breaks_off_is_none(one_stream: Callable[..., ServerAddress]) -> None:
    with pytest.raises(EOFError, match="closed the connection"):
        exchange(b"\7\7?", one_stream(lambda connection: connection.sendall(b"\0\6\7\7a")), 5, tcp=True)


def _answer(change: Callable[[dns.message.Message], None], *records: str, kind: str = "TXT") -> Answer:
    query = dns.message.make_query(NAME, kind, use_edns=0, payload=1232, flags=0)
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    response.answer += [dns.rrset.from_text(f"{NAME}.", 60, "IN", kind, *records)] if records else []
    change(response)
    return Answer(query.to_wire(), response.to_wire())


def _nothing(_: dns.message.Message) -> None:
    pass


def _clear(flag: int) -> Callable[[dns.message.Message], None]:
    def change(message: dns.message.Message) -> None:
        message.flags &= ~flag

    return change


def _set(flag: int) -> Callable[[dns.message.Message], None]:
    def change(message: dns.message.Message) -> None:
        message.flags |= flag

    return change


def _rcode(word: str) -> Callable[[dns.message.Message], None]:
    return lambda message: message.set_rcode(dns.rcode.from_text(word))


def _other_id(message: dns.message.Message) -> None:
    message.id ^= 1


def _other_name(message: dns.message.Message) -> None:
    message.question = dns.message.make_query(NAME.replace("web1", "web2"), "TXT").question


def _notify(message: dns.message.Message) -> None:
    message.set_opcode(dns.opcode.NOTIFY)


@pytest.mark.parametrize("change", [_nothing, _rcode("NXDOMAIN")])
def test_an_authoritative_no_is_seen_at_once(change: Any) -> None:
    assert _answer(change).denies()


@pytest.mark.parametrize(
    "change",
    [
        _clear(dns.flags.AA),
        _set(dns.flags.TC),
        _rcode("SERVFAIL"),
        _rcode("REFUSED"),
        _rcode("BADVERS"),
        _other_id,
        _other_name,
        _notify,
        _clear(dns.flags.QR),
    ],
)
def test_anything_else_is_no_denial(change: Any) -> None:
    assert not _answer(change).denies()


def test_records_are_no_denial() -> None:
    assert not _answer(_nothing, f'"{VALUE}"').denies()
    assert not Answer(_answer(_nothing).query, b"\0").denies()


def test_the_value_is_seen_at_once() -> None:
    assert _answer(_nothing, f'"{VALUE}"').shows(VALUE)
    assert _answer(_clear(dns.flags.AA), '"another"', f'"{VALUE}"').shows(VALUE), "among others"


@pytest.mark.parametrize("records", [(), ('"another"',), (f'"{VALUE}x"',), (f'"x{VALUE}"',), (f'"{VALUE}" "x"',)])
def test_what_is_not_the_value_is_not_shown(records: tuple[str, ...]) -> None:
    assert not _answer(_nothing, *records).shows(VALUE)


@pytest.mark.parametrize("change", [_rcode("SERVFAIL"), _other_id, _other_name, _notify, _clear(dns.flags.QR)])
def test_an_answer_to_something_else_shows_nothing(change: Any) -> None:
    assert not _answer(change, f'"{VALUE}"').shows(VALUE)


def test_the_value_at_another_name_is_not_shown() -> None:
    def elsewhere(message: dns.message.Message) -> None:
        message.answer = [dns.rrset.from_text(f"other.{NAME}.", 60, "IN", "TXT", f'"{VALUE}"')]

    assert not _answer(elsewhere).shows(VALUE)


def test_a_value_of_several_strings_has_to_be_parsed() -> None:
    assert not _answer(_nothing, f'"{"x" * 255}" "{"x" * 45}"').shows("x" * 300)
    assert not _answer(_nothing, f'"{VALUE[:20]}" "{VALUE[20:]}"').shows(VALUE)


def test_an_answer_is_parsed_only_when_it_is_ours() -> None:
    assert _answer(_nothing, f'"{VALUE}"').parse().answer[0][0].strings == (VALUE.encode(),)
    with pytest.raises(dns.query.BadResponse):
        _answer(_other_name).parse()


def test_a_question_is_as_dnspython_writes_it(scripted: Callable[..., Any]) -> None:
    seen: list[bytes] = []

    def reply(wire: bytes) -> bytes:
        seen.append(wire)
        return dns.message.make_response(dns.message.from_wire(wire)).to_wire()

    ask(parse_server(scripted(reply).server), "Web1.lab.test", "CNAME")
    asked = dns.message.from_wire(seen[0])
    expected = dns.message.make_query("Web1.lab.test", "CNAME", use_edns=0, payload=1232, flags=0)
    expected.id = asked.id
    assert seen[0] == expected.to_wire()


def test_a_resolver_s_no_counts_where_a_resolver_was_asked() -> None:
    def recurse(message: dns.message.Message) -> None:
        message.flags = message.flags & ~dns.flags.AA | dns.flags.RA

    assert _answer(recurse).denies(recursive=True)
    assert not _answer(recurse).denies()
    assert _answer(_nothing).denies(recursive=True)
    assert not _answer(_clear(dns.flags.AA)).denies(recursive=True), "a referral by a server that does not recurse"


def test_recursion_is_asked_for_where_it_is_wanted(scripted: Callable[..., Any]) -> None:
    seen: list[int] = []

    def reply(wire: bytes) -> bytes:
        query = dns.message.from_wire(wire)
        seen.append(query.flags)
        return dns.message.make_response(query).to_wire()

    server = parse_server(scripted(reply).server)
    ask(server, NAME, "CNAME", recursive=True)
    ask(server, NAME, "CNAME")
    assert seen == [dns.flags.RD, 0]
