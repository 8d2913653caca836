# SPDX-License-Identifier: Apache-2.0
"""What simulators build on: the TLS server, the log, the faults."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ottr.simulation.faults import Faults, parse_fault
from ottr.simulation.http import converse
from ottr.simulation.pair import Pair, make_self_signed
from ottr.simulation.requests import Request, RequestLog, Response
from ottr.simulation.server import TlsServer, wait_until
from tests.drivers.panos_wire import handshake


def echo(request: Request) -> Response:
    return Response(200, request.method.encode() + b" " + request.body, "text/plain")


@pytest.fixture
def server() -> Iterator[TlsServer]:
    running = TlsServer("127.0.0.1", 0, echo)
    running.serve(make_self_signed("one.example.com"))
    running.start()
    yield running
    running.stop()


def connect(server: TlsServer) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(
        server.address, server.port, timeout=10, context=ssl._create_unverified_context()
    )


def exchange(connection: http.client.HTTPSConnection) -> bytes:
    connection.request("GET", "/")
    return connection.getresponse().read()


def test_a_connection_is_kept_for_several_requests(server: TlsServer) -> None:
    with closing(connect(server)) as connection:
        for method in ("GET", "POST", "PATCH"):
            connection.request(method, "/x", b"body")
            assert connection.getresponse().read() == method.encode() + b" body"


def test_new_connections_see_a_new_certificate(server: TlsServer) -> None:
    first = handshake(server.address, server.port)
    assert first == server.fingerprint
    server.serve(make_self_signed("two.example.com"))
    assert first != handshake(server.address, server.port) == server.fingerprint


def test_a_pair_that_does_not_match_serves_nothing(server: TlsServer) -> None:
    server.serve(Pair(make_self_signed("one").chain_pem, ec.generate_private_key(ec.SECP256R1())))
    assert server.fingerprint == ""
    with pytest.raises(OSError, match=r"EOF|reset|closed"):
        handshake(server.address, server.port)


def test_a_restart_ends_connections_and_comes_back_on_the_same_port(server: TlsServer) -> None:
    port = server.port
    with closing(connect(server)) as connection:
        exchange(connection)
        server.restart(0.05)
        with pytest.raises((OSError, http.client.HTTPException)):
            exchange(connection)
        assert wait_until(lambda: bool(server.fingerprint))
        assert handshake(server.address, port) == server.fingerprint


def test_a_server_that_stays_down_refuses(server: TlsServer) -> None:
    server.restart(None)
    with pytest.raises(ConnectionRefusedError):
        handshake(server.address, server.port)


def test_nothing_runs_on_after_the_end() -> None:
    before = threading.active_count()
    server = TlsServer("127.0.0.1", 0, echo)
    server.serve(make_self_signed("one"))
    server.start()
    with closing(connect(server)) as connection:
        exchange(connection)
        server.restart(30)
        server.stop()
    assert threading.active_count() == before


def test_a_port_in_use_is_an_error(server: TlsServer) -> None:
    with pytest.raises(OSError, match="in use"):
        TlsServer(server.address, server.port, echo).start()


@pytest.mark.parametrize("length", ["x", "99999999999"])
def test_a_body_without_a_sane_length_is_refused(server: TlsServer, length: str) -> None:
    with closing(connect(server)) as connection:
        connection.putrequest("POST", "/")
        connection.putheader("Content-Length", length)
        connection.endheaders()
        assert connection.getresponse().status in (411, 413)


def send(server: TlsServer, *pieces: bytes) -> bytes:
    """Everything that is answered until the server ends the connection, or has nothing more to say."""
    answered = b""
    with (
        socket.create_connection((server.address, server.port), 10) as plain,
        ssl._create_unverified_context().wrap_socket(plain) as secured,
    ):
        for piece in pieces:
            secured.sendall(piece)
            answered += secured.recv(65536)
        while more := secured.recv(65536):
            answered += more
    return answered


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"PURGE / HTTP/1.1\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 101, 431),
        (b"PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"GET /" + b"x" * 65536, 414),
    ],
    ids=["words", "version", "method", "header", "space", "headers", "chunks", "line"],
)
def test_what_is_no_request_is_refused_and_ends_the_connection(server: TlsServer, raw: bytes, status: int) -> None:
    assert send(server, raw).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"POST / HTTP/1.1",
        b"POST / HTTP/1.1\r\nHost: x\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nbod",
    ],
    ids=["line", "headers", "body"],
)
def test_nothing_is_done_for_a_request_that_is_cut_off(raw: bytes) -> None:
    done: list[Request] = []

    def answer(request: Request) -> Response:
        done.append(request)
        return Response(200)

    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname(), 10) as client,
        listener.accept()[0] as accepted,
    ):
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(ConnectionAbortedError, match="cut off"):
            converse(accepted, answer)
    assert done == []


@pytest.mark.parametrize("end", [b"HTTP/1.0\r\n", b"HTTP/1.1\r\nConnection: Close\r\n"])
def test_a_client_that_wants_one_answer_gets_one(server: TlsServer, end: bytes) -> None:
    answer = send(server, b"GET / " + end + b"\r\n")
    assert (answer.count(b"HTTP/1.1 200 OK\r\n"), answer.rpartition(b"\r\n")[2]) == (1, b"GET ")


def test_a_client_that_asks_first_is_told_to_go_on(server: TlsServer) -> None:
    head = b"PUT / HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    answer = send(server, head, b"body")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\nPUT body")


def test_the_log_masks_and_names_what_came_in_the_url() -> None:
    log = RequestLog(frozenset({"key", "x-pan-key"}))
    request = Request("GET", "/api/?key=hush&type=op", {"x-pan-key": "hush"})
    log.add(request, "op", {"key": "hush", "type": "op"}, 200)
    (entry,) = log
    assert (entry.url_secrets, entry.path) == (("key",), "/api/")
    assert "hush" not in repr(entry)
    log.clear()
    assert len(log) == 0


def test_faults_happen_as_often_as_they_were_armed() -> None:
    faults = Faults({"melts": "the device melts"})
    assert faults.take("melts") is None
    faults.arm("melts", "commit", times=2, skip=1)
    assert [faults.take("melts", step) for step in ("set", "commit", "commit", "commit", "commit")] == [
        None,
        None,
        "commit",
        "commit",
        None,
    ]
    faults.arm("melts", times=None)
    assert all(faults.take("melts", step) for step in ("set", "commit"))
    faults.clear()
    assert not faults.armed("melts")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("busy", ("busy", "any", 1, 0)),
        ("busy*3", ("busy", "any", 3, 0)),
        ("drop_before=request certificate generate+2", ("drop_before", "request certificate generate", 1, 2)),
        ("slow=0.5*always", ("slow", "0.5", None, 0)),
    ],
)
def test_faults_on_the_command_line(text: str, parsed: tuple[object, ...]) -> None:
    assert parse_fault(text) == parsed
