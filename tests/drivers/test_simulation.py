# SPDX-License-Identifier: Apache-2.0
"""What simulators build on: the TLS server, the log, the faults."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from ottr.simulation.faults import Faults, parse_fault
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
