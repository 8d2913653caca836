# SPDX-License-Identifier: Apache-2.0
"""The servers: connections that go the short way, and what happens when they stop."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ottr.ca.authority import Authority
from ottr.ca.connections import IdleTimer
from ottr.ca.listening import open_listener
from ottr.ca.model import Certificate, Reason
from ottr.ca.opening import open_authority
from ottr.ca.status.answer import Refusal
from ottr.ca.status.fast import FastPath
from ottr.ca.status.listening import add_fast_path
from ottr.ca.status.transport import encode_path
from ottr.errors import AuthorityError
from ottr.lab.network import claim_network
from tests.ca.requests import SERVER
from tests.ca.requests import build_request as request_certificate
from tests.ca.status.asking import NONCE, build_request, read_status
from tests.ca.status.conftest import OpenStatus
from tests.ca.status.site import Site, open_site

HEADERS = {"Content-Type": "application/ocsp-request"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with claim_network() as network, open_site(tmp_path_factory.mktemp("site"), network.port(0)) as opened:
        yield opened


@pytest.fixture
def row(site: Site) -> Certificate:
    return site.authority.issue(request_certificate("www.example.test"), SERVER)


@pytest.fixture
def connection(site: Site) -> Iterator[http.client.HTTPConnection]:
    opened = http.client.HTTPConnection("127.0.0.1", int(site.url.rpartition(":")[2]), timeout=20)
    yield opened
    opened.close()


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each request that was looked at went the short way."""
    found: list[bool] = []
    answer = FastPath.answer

    def count(self: FastPath, data: bytes, date: bytes) -> bytes | None:
        given = answer(self, data, date)
        found.append(given is not None)
        return given

    monkeypatch.setattr(FastPath, "answer", count)
    return found


def ask(connection: http.client.HTTPConnection, request: bytes) -> bytes:
    """In one piece, as clients send it."""
    host = f"{connection.host}:{connection.port}"
    lines = f"POST /ocsp HTTP/1.1\r\nHost: {host}\r\nContent-Type: {HEADERS['Content-Type']}\r\n"
    connection.connect() if connection.sock is None else None
    connection.sock.sendall(f"{lines}Content-Length: {len(request)}\r\n\r\n".encode() + request)
    return read(connection.sock)


def read(sock: socket.socket) -> bytes:
    response = http.client.HTTPResponse(sock)
    response.begin()
    assert response.status == 200, response.status
    return response.read()


def test_one_connection_goes_the_short_way_until_it_cannot(
    site: Site, row: Certificate, connection: http.client.HTTPConnection, answered: list[bool]
) -> None:
    request = build_request(site.authority, row)
    first = ask(connection, request)
    connection.close()
    assert [ask(connection, request) for _ in range(3)] == [first] * 3
    assert answered == [False, True, True, True]
    with_nonce = ask(connection, build_request(site.authority, row, nonce=NONCE))
    assert read_status(with_nonce) == "good"
    assert ask(connection, request) == first
    assert answered == [False, True, True, True, False]


def test_CK_15_a_revocation_is_in_the_next_answer_on_the_same_connection(
    site: Site, row: Certificate, connection: http.client.HTTPConnection
) -> None:
    request = build_request(site.authority, row)
    ask(connection, request)
    connection.close()
    assert read_status(ask(connection, request)) == "good"
    with open_authority(site.folder / "ca", site.authority.passphrase) as other:
        other.revoke(row.issuer_id, row.serial, Reason.SUPERSEDED, "operator")
    assert read_status(ask(connection, request)) == "revoked"


def test_requests_in_pieces_and_several_at_once(
    site: Site, row: Certificate, connection: http.client.HTTPConnection
) -> None:
    path = encode_path(build_request(site.authority, row))
    whole = f"GET /ocsp/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    connection.connect()
    connection.sock.sendall(whole)
    first = read(connection.sock)
    connection.close()
    connection.connect()
    connection.sock.sendall(whole + whole)
    response = b""
    while response.count(first) < 2:
        received = connection.sock.recv(65536)
        assert received
        response += received
    connection.close()
    connection.connect()
    connection.sock.sendall(whole[:50])
    connection.sock.sendall(whole[50:])
    assert read(connection.sock) == first


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/acme/directory", 404), ("GET", "/.well-known/jwks.json", 404), ("GET", "/ca/bundle.pem", 200)],
)
def test_without_TLS_there_is_only_what_is_public(
    site: Site, connection: http.client.HTTPConnection, method: str, path: str, status: int
) -> None:
    connection.request(method, path)
    assert connection.getresponse().status == status


def test_HEAD_304_and_bodies_that_are_too_long(
    site: Site, row: Certificate, connection: http.client.HTTPConnection
) -> None:
    path = f"/ocsp/{encode_path(build_request(site.authority, row))}"
    connection.request("HEAD", path)
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    connection.request("GET", path, headers={"If-None-Match": response.headers["ETag"]})
    unchanged = connection.getresponse()
    assert (unchanged.status, unchanged.read()) == (304, b"")
    assert unchanged.headers["Content-Length"] is None
    connection.request("POST", "/ocsp", b"x" * 20000, HEADERS)
    assert connection.getresponse().status == 413


def test_CK_20_bodies_of_any_bytes_are_answered_in_OCSP(site: Site, connection: http.client.HTTPConnection) -> None:
    for body in (b"", b"\0", b"\xff" * 1000, b"\x30\x80"):
        connection.request("POST", "/ocsp", body, HEADERS)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, Refusal.MALFORMED_REQUEST.value)


class Loop:
    """Of events that the test lets happen."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.closed = False

    def time(self) -> float:
        return self.now

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Loop:
        self.due.append((self.now + delay_s, call))
        return self

    def cancel(self) -> None:
        self.due.clear()

    def run_until(self, moment: float) -> None:
        while self.due and self.due[0][0] <= moment:
            self.now, call = self.due.pop(0)
            call()
        self.now = moment

    def close(self) -> None:
        self.closed = True


def test_a_connection_that_is_silent_is_closed() -> None:
    loop = Loop()
    timer = IdleTimer(loop, loop, 75)  # type: ignore[arg-type]
    loop.run_until(50)
    timer.reset()
    loop.run_until(124)
    assert ([moment for moment, _ in loop.due], loop.closed) == ([125], False)
    loop.run_until(125)
    assert loop.closed
    other = IdleTimer(loop, loop, 75)  # type: ignore[arg-type]
    other.stop()
    assert loop.due == []


def test_an_address_that_is_taken_is_named_before_anything_is_started(site: Site) -> None:
    port = int(site.url.rpartition(":")[2])
    with pytest.raises(AuthorityError, match=f"nothing can listen at 127.0.0.1 port {port}"):
        open_listener(("127.0.0.1", port), "server.http_listen")
    with open_listener(("127.0.0.1", 0), "server.http_listen") as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_there_is_no_short_way_without_OCSP(open_status: OpenStatus, authority: Authority, folder: Path) -> None:
    class Base:
        pass

    assert add_fast_path(Base, open_status()) is not Base  # type: ignore[arg-type]
    assert add_fast_path(Base, open_status(ocsp={"enabled": False})) is Base  # type: ignore[arg-type]
