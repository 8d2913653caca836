# SPDX-License-Identifier: Apache-2.0
"""The server's own connections: two at once, too much, too slow, too many, and a certificate of its own."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ottr.ca.acme.exchange import Reply
from ottr.ca.acme.server import AcmeServer
from ottr.ca.authority import Authority, parse_row
from ottr.ca.certificates import list_certificates
from ottr.ca.connections import Patience
from ottr.ca.keyed import issue_with_key, take_key
from ottr.ca.model import Reason
from ottr.ca.names import parse_names
from ottr.ca.opening import open_authority
from ottr.ca.own_certificate import OwnCertificate
from ottr.ca.rollover import start_rollover
from ottr.ca.schema import certificate
from ottr.errors import AuthorityError
from ottr.lab.bind import Bind
from tests.ca.acme.client import BASE, Client, make_csr, write_jws
from tests.ca.acme.conftest import Prove
from tests.ca.acme.wire import Wire, run_server
from tests.ca.conftest import PASSPHRASE, SETTINGS, MovableClock, write_pem
from tests.ca.requests import SERVER, build_name

PATIENCE = Patience(headers_s=2, body_s=2, header_bytes=16_000)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, fresh_folder: Path, bind: Bind) -> Iterator[Authority]:
    folder = Path(shutil.copytree(fresh_folder, tmp_path_factory.mktemp("served") / "ca"))
    acme = json.dumps({"url": BASE, "validation": {"resolvers": [bind.server]}})
    (folder / "ca.yaml").write_text(f"{SETTINGS}acme: {acme}\n")
    with open_authority(folder, PASSPHRASE) as opened:
        yield opened


@pytest.fixture(scope="module")
def port(served: Authority) -> Iterator[int]:
    with run_server(served, PATIENCE) as number:
        yield number


@pytest.fixture
def connect(port: int) -> Iterator[Callable[..., Client]]:
    """A client, or another connection of one."""
    with ExitStack() as stack:

        def work(of: Client | None = None, at: int = port) -> Client:
            wire = Wire(at)
            stack.callback(wire.connection.close)
            server = cast("AcmeServer", wire)
            return Client(server, key=of.key, kid=of.kid) if of else Client(server).register()

        yield work


Connect = Callable[..., Client]


def at_once(*works: Callable[[], Reply]) -> list[tuple[int, str]]:
    """Status and type of problem of each, in order."""
    barrier, replies = threading.Barrier(len(works)), list[Reply]()

    def work(one: Callable[[], Reply]) -> None:
        barrier.wait()
        replies.append(one())

    threads = [threading.Thread(target=work, args=(one,)) for one in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted((one.status, str(one.document.get("type", "")).rpartition(":")[2]) for one in replies)


def test_of_two_that_finalize_at_once_one_gets_the_certificate(
    connect: Connect, prove: Prove, served: Authority
) -> None:
    first = connect()
    second = connect(of=first)
    for number in range(3):
        order = first.order(f"twice{number}.lab.test")
        prove(first, order)
        csrs = [make_csr(f"twice{number}.lab.test") for _ in range(2)]
        came = at_once(lambda: first.finalize(order, csrs[0]), lambda: second.finalize(order, csrs[1]))  # noqa: B023
        assert came == [(200, ""), (403, "orderNotReady")]
    with served.database.read() as connection:
        who = "acme:" + first.kid.rpartition("/")[2]
        assert len(list(list_certificates(connection, certificate.c.requester == who))) == 3


def test_who_connects_and_does_not_begin_TLS_is_bounded_in_number_and_time(served: Authority) -> None:
    with run_server(served, Patience(headers_s=1.5, connections=3)) as port, ExitStack() as stack:

        def call() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))

        silent = [call() for _ in range(3)]
        assert is_closed(call())  # one too many, while the others may still begin
        assert all(map(is_closed, silent))
        wire = Wire(port)
        stack.callback(wire.connection.close)
        Client(cast("AcmeServer", wire)).register()


def is_closed(connection: socket.socket) -> bool:
    """Wait until the other side closes it."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_of_two_that_use_a_nonce_at_once_one_is_heard(connect: Connect) -> None:
    first = connect()
    second = connect(of=first)
    body = write_jws(first.key, first.header(first.kid), None)
    path = first.kid.removeprefix(BASE)
    came = at_once(lambda: first.send(path, body), lambda: second.send(path, body))
    assert came == [(200, ""), (400, "badNonce")]


def talk(port: int, data: bytes) -> bytes:
    """Send, and return all that comes until the server closes."""
    with socket.create_connection(("127.0.0.1", port), 30) as plain:
        plain.sendall(data)
        return read_all(plain)


def read_all(plain: socket.socket) -> bytes:
    parts = []
    try:
        while part := plain.recv(65536):
            parts.append(part)
    except ConnectionResetError:  # the server closes while there is something it has not read
        pass
    return b"".join(parts)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /acme/\xc3\xa9 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /acme/order/%00%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /acme/directory HTTP/1.0\r\n\r\n",
        b"PUT /acme/new-order HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"POST /acme/new-order HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /acme/new-order HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x00\xa5\x01\x00\x00",
    ],
)
def test_noise_on_the_line_is_answered_or_hung_up_on(port: int, request_bytes: bytes) -> None:
    answer = talk(port, request_bytes)
    assert not answer or answer.startswith((b"HTTP/1.1 2", b"HTTP/1.1 4")), answer


def test_a_client_that_hangs_up_in_the_middle_leaves_nothing_behind(port: int, connect: Connect) -> None:
    with socket.create_connection(("127.0.0.1", port)) as plain:
        plain.sendall(b"POST /acme/new-order HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert connect().order("www.lab.test").status == 201


def flood(plain: socket.socket, part: bytes) -> None:
    """Send until the other side has had enough."""
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        list(map(plain.sendall, [part] * (64_000_000 // len(part))))


@pytest.mark.parametrize("framing", [b"Content-Length: 10000000", b"Transfer-Encoding: chunked"])
def test_a_body_is_read_up_to_its_limit(port: int, framing: bytes) -> None:
    head = b"POST /acme/new-order HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n"
    part = b"20000\r\n" + b"x" * 0x20000 + b"\r\n"
    with socket.create_connection(("127.0.0.1", port), 30) as plain:
        plain.sendall(head)
        flood(plain, part)
    assert talk(port, head + part + b"1\r\nx").startswith(b"HTTP/1.1 413")


def test_headers_are_read_up_to_their_limit(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 30) as plain:
        plain.sendall(b"GET /acme/directory HTTP/1.1\r\nHost: x\r\nX-Long: ")
        flood(plain, b"x" * 16_000)


def test_who_is_slow_is_not_waited_for_and_holds_nobody_up(port: int, connect: Connect) -> None:
    """More of them than threads: half in their headers, half in their bodies; one goes on after a good request."""
    head = b"POST /acme/new-order HTTP/1.1\r\nHost: x\r\n"
    good = b"HEAD /acme/new-nonce HTTP/1.1\r\nHost: x\r\n\r\n"
    beginnings = [head] * 30 + [head + b"Content-Length: 90\r\n\r\n{"] * 30 + [b"", good]
    with ExitStack() as stack:
        slow = []
        for begun in beginnings:
            slow.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)))
            slow[-1].sendall(begun)
        assert slow[-1].recv(65536).startswith(b"HTTP/1.1 200")
        slow[-1].sendall(head)
        assert connect().order("quick.lab.test").status == 201
        ends = [read_all(one) for one in slow]
    assert set(ends[:30] + ends[60:]) == {b""}
    assert all(end.startswith(b"HTTP/1.1 408") for end in ends[30:60])


def test_of_too_many_that_wait_the_first_has_to_go(served: Authority, connect: Connect) -> None:
    with run_server(served, Patience(headers_s=600, body_s=600, waiting=5)) as port, ExitStack() as stack:
        waiting = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(5)]
        waiting[0].sendall(b"POST /acme/new-order HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert connect(at=port).order("room.lab.test").status == 201
        assert read_all(waiting[0]) == b""
        waiting[4].sendall(b"GET /acme/directory HTTP/1.0\r\n\r\n")
        assert read_all(waiting[4]).startswith(b"HTTP/1.1 200")


def test_a_long_list_is_read_in_a_thread(connect: Connect) -> None:
    client = connect()
    made = client.order("listed.lab.test").headers["Location"]
    assert client.post(f"{client.kid}/orders").document["orders"] == [made]


def test_a_certificate_from_a_file_must_fit_its_key(authority: Authority, tmp_path: Path) -> None:
    for name in ("one", "other"):
        made = issue_with_key(authority, parse_names([f"{name}.test"]), build_name(""), SERVER)
        write_pem(tmp_path / f"{name}.pem", parse_row(made))
        secret = take_key(authority, made, "operator").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (tmp_path / f"{name}.key").write_bytes(secret)
    files = {"certificate": str(tmp_path / "one.pem"), "key": str(tmp_path / "one.key")}
    with run_server(authority, PATIENCE, plain=False, **files) as port:
        shown = shake_hands(port)
        assert shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        ) == ["one.test"]
    files["key"] = str(tmp_path / "other.key")
    with (
        pytest.raises(AuthorityError, match=r"other\.key cannot be used"),
        run_server(authority, PATIENCE, plain=False, **files),
    ):
        pass


def shake_hands(port: int) -> x509.Certificate:
    """The certificate shown. (Its time is that of the test's clock, not for TLS to judge.)"""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 30) as plain, asking.wrap_socket(plain) as secured:
        return x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"")


def wait_for(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_renewal_of_its_own_certificate_that_fails_is_tried_again(
    authority: Authority, clock: MovableClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("ottr.ca.serving._LOOK_S", 0.01)
    with run_server(authority, PATIENCE, plain=False, names=("ca.example.test",)) as port:
        first = shake_hands(port)
        issuer = authority.active_issuer()
        authority.revoke(issuer.parent_id, issuer.serial, Reason.CESSATION_OF_OPERATION, "operator")
        wait_for(lambda: "cannot be renewed now" in caplog.text)
        assert shake_hands(port) == first

        start_rollover(authority)
        wait_for(lambda: shake_hands(port) != first)
        second = shake_hands(port)
        assert second.issuer == authority.active_issuer().certificate.subject
        clock.move(days=3)
        assert shake_hands(port) == second
        clock.move(days=1)
        wait_for(lambda: shake_hands(port) != second)


class Loop:
    """Runs what it is given, or loses it."""

    def __init__(self, *, works: bool) -> None:
        self.works = works
        self.ran = 0

    def call_soon_threadsafe(self, work: Callable[..., None], *given: object) -> None:
        if self.works:
            work(*given)
            self.ran += 1


def test_a_certificate_that_could_not_be_loaded_is_not_taken_for_the_servers(
    authority: Authority, clock: MovableClock
) -> None:
    own = OwnCertificate(authority, ("ca.example.test",))
    lossy, good = Loop(works=False), Loop(works=True)
    clock.move(days=4)
    own.follow(cast("asyncio.AbstractEventLoop", lossy))
    own.renew()
    own.follow(cast("asyncio.AbstractEventLoop", good))
    own.renew()
    own.renew()
    assert good.ran == 1


def test_its_own_certificate_has_a_key_its_profile_certifies(folder: Path) -> None:
    (folder / "ca.yaml").write_text(f"{SETTINGS}profiles: {{server: {{keys: [ec384, rsa2048]}}}}\n")
    with open_authority(folder, PASSPHRASE) as opened, run_server(opened, PATIENCE, plain=False) as port:
        key = shake_hands(port).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        assert key.curve.name == "secp384r1"
