# SPDX-License-Identifier: Apache-2.0
"""How control of a name is looked at: http-01, tls-alpn-01, CAA, and what happens when looking is hard."""

from __future__ import annotations

import hashlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.resolver
import dns.rrset
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ottr.ca.acme.problems import Problem
from ottr.ca.acme.schema import authorization
from ottr.ca.acme.settings import AcmeSettings, ValidationSettings
from ottr.ca.acme.validation.caa import Claim, check
from ottr.ca.acme.validation.lookup import Deadline, LookupFailed, ask
from ottr.ca.acme.validation.tls_alpn01 import ACME_IDENTIFIER, PROTOCOL
from ottr.ca.authority import Authority
from tests.ca.acme.client import BASE, Client, make_csr, make_key
from tests.ca.acme.conftest import Prove, Serve
from tests.ca.acme.test_acme_requests import kind
from tests.ca.conftest import MovableClock

HERE = {"networks": (ipaddress.ip_network("127.0.0.0/8"),)}


class Site(ThreadingHTTPServer):
    """A web server with answers by path: a body, or where to go."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        self.server.asked.append(self.headers["Host"] + self.path)
        page = self.server.pages.get(self.path)
        if page is None:
            self.send_error(404)
        elif page.startswith(("http:", "https:", "/", "ftp:")):
            self.send_response(302)
            self.send_header("Location", page)
            self.end_headers()
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page.encode())

    def log_message(self, *_: Any) -> None:
        """Quietly."""


@contextmanager
def run(site: Any) -> Iterator[Any]:
    thread = threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        site.shutdown()
        thread.join()
        site.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with run(Site()) as started:
        yield started


@pytest.fixture
def web(serve: Serve, site: Site) -> Client:
    """A client of a server that looks at the site's port."""
    return Client(serve(validation={"http_port": site.port, **HERE})).register()


def start(client: Client, name: str, kind_of: str = "http-01", name_type: str = "dns") -> dict[str, Any]:
    order = client.post("/new-order", {"identifiers": [{"type": name_type, "value": name}]})
    return client.challenge(client.authorizations(order)[0], kind_of)


def answer(client: Client, challenge: dict[str, Any]) -> dict[str, Any]:
    client.post(challenge["url"], {})
    return client.wait(challenge["url"])


def describe(document: dict[str, Any]) -> str:
    return str(document.get("error", {}).get("type", document["status"])).rpartition(":")[2]


def test_http_01_reads_the_file_of_the_token(web: Client, site: Site) -> None:
    challenge = start(web, "web.lab.test")
    path = f"/.well-known/acme-challenge/{challenge['token']}"
    site.pages[path] = web.key_authorization(challenge) + "\n"
    assert describe(answer(web, challenge)) == "valid"
    assert site.asked == [f"web.lab.test:{site.port}{path}"]


def test_http_01_proves_an_address(web: Client, site: Site) -> None:
    challenge = start(web, "127.0.0.1", name_type="ip")
    site.pages[f"/.well-known/acme-challenge/{challenge['token']}"] = web.key_authorization(challenge)
    assert describe(answer(web, challenge)) == "valid"


def test_http_01_follows_redirects_to_the_web_only(web: Client, site: Site) -> None:
    for target, expected in (
        ("/there", "valid"),
        (f"http://web.lab.test:{site.port}/there", "valid"),
        ("http://web.lab.test:22/there", "connection"),
        ("ftp://web.lab.test/there", "connection"),
        ("http://inside.lab.test/there", "unauthorized"),
        ("http://bad_host!/", "connection"),
    ):
        challenge = start(web, "web.lab.test")
        site.pages[f"/.well-known/acme-challenge/{challenge['token']}"] = target
        site.pages["/there"] = web.key_authorization(challenge)
        assert describe(answer(web, challenge)) == expected, target


def test_http_01_does_not_run_in_circles(web: Client, site: Site) -> None:
    challenge = start(web, "web.lab.test")
    path = f"/.well-known/acme-challenge/{challenge['token']}"
    site.pages[path] = path
    assert describe(answer(web, challenge)) == "unauthorized"
    assert len(site.asked) == 6


@pytest.mark.parametrize("page", [None, "something else", "x" * 10_000])
def test_http_01_takes_nothing_else(web: Client, site: Site, page: str | None) -> None:
    challenge = start(web, "web.lab.test")
    if page is not None:
        site.pages[f"/.well-known/acme-challenge/{challenge['token']}"] = page
    assert describe(answer(web, challenge)) == "unauthorized"


def test_a_closed_port_is_a_connection_problem(serve: Serve, unused_port: int) -> None:
    client = Client(serve(validation={"http_port": unused_port, "tls_port": unused_port, **HERE})).register()
    for kind_of in ("http-01", "tls-alpn-01"):
        assert describe(answer(client, start(client, "web.lab.test", kind_of))) == "connection"


@pytest.fixture
def unused_port() -> int:
    site = Site()
    site.server_close()
    return site.port


def test_the_ca_does_not_connect_to_itself_or_its_links(serve: Serve, site: Site) -> None:
    client = Client(serve(validation={"http_port": site.port})).register()
    for name in ("web.lab.test", "inside.lab.test"):
        assert describe(answer(client, start(client, name))) == "unauthorized"
    assert site.asked == []


def test_a_name_without_address_or_server_is_a_dns_problem(serve: Serve, unused_port: int) -> None:
    client = Client(serve(validation=HERE)).register()
    assert describe(answer(client, start(client, "none.lab.test"))) == "dns"
    assert describe(answer(client, start(client, "elsewhere.test"))) == "dns"  # BIND refuses what it does not serve
    deaf = Client(serve(validation={"resolvers": (("127.0.0.1", unused_port),), "timeout_s": 0.2})).register()
    for kind_of in ("dns-01", "http-01"):
        assert describe(answer(deaf, start(deaf, "www.lab.test", kind_of))) == "dns"


class Alpn(ThreadingHTTPServer):
    """Serves one certificate to whoever speaks the protocol."""

    def __init__(self, folder: Path, certificate: x509.Certificate, key: Any, protocol: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.names: list[str | None] = []
        pem = folder / "alpn.pem"
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem.write_bytes(secret + certificate.public_bytes(Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        context.set_alpn_protocols([protocol])
        context.sni_callback = lambda _, name, __: self.names.append(name)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, *_: Any) -> None:
        """A client that has seen the certificate goes away."""


def make_alpn_certificate(
    name: str, digest: bytes, key: Any, clock: MovableClock, changes: dict[str, Any]
) -> x509.Certificate:
    san = changes.get("san") or x509.SubjectAlternativeName(changes.get("names", [x509.DNSName(name)]))
    builder = (
        x509.CertificateBuilder(x509.Name([]), x509.Name([]), key.public_key(), x509.random_serial_number())
        .not_valid_before(clock.now.replace(year=2020))
        .not_valid_after(clock.now.replace(year=2040))
        .add_extension(san, critical=False)
    )
    if changes.get("extended", True):
        value = x509.UnrecognizedExtension(ACME_IDENTIFIER, b"\x04\x20" + digest)
        builder = builder.add_extension(value, critical=changes.get("critical", True))
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "valid"),
        ({"critical": False}, "unauthorized"),
        ({"extended": False}, "unauthorized"),
        ({"digest": b"0" * 32}, "unauthorized"),
        ({"names": [x509.DNSName("other.lab.test")]}, "unauthorized"),
        ({"san": x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x02\xa3\x00")}, "unauthorized"),
        ({"names": [x509.DNSName("web.lab.test"), x509.DNSName("other.lab.test")]}, "unauthorized"),
        ({"protocol": "http/1.1"}, "unauthorized"),
    ],
)
def test_tls_alpn_01_reads_the_certificate(
    serve: Serve, tmp_path: Path, clock: MovableClock, changes: dict[str, Any], expected: str
) -> None:

    key, account_key = make_key(), make_key()
    server = serve()
    client = Client(server, key=account_key).register()
    challenge = start(client, "web.lab.test", "tls-alpn-01")
    digest = changes.get("digest") or hashlib.sha256(client.key_authorization(challenge).encode()).digest()
    certificate = make_alpn_certificate("web.lab.test", digest, key, clock, changes)
    with run(Alpn(tmp_path, certificate, key, changes.get("protocol", PROTOCOL))) as alpn:
        looking = serve(validation={"tls_port": alpn.server_address[1], **HERE})
        client.server = looking
        assert describe(answer(client, challenge)) == expected
        assert alpn.names in (["web.lab.test"], [])


def test_an_address_is_asked_for_by_its_reverse_name(serve: Serve, tmp_path: Path, clock: MovableClock) -> None:

    key = make_key()
    client = Client(serve(validation=HERE)).register()
    challenge = start(client, "127.0.0.1", "tls-alpn-01", "ip")
    digest = hashlib.sha256(client.key_authorization(challenge).encode()).digest()
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = make_alpn_certificate("", digest, key, clock, {"names": names})
    with run(Alpn(tmp_path, certificate, key, PROTOCOL)) as alpn:
        client.server = serve(validation={"tls_port": alpn.server_address[1], **HERE})
        assert describe(answer(client, challenge)) == "valid"
        assert alpn.names == ["1.0.0.127.in-addr.arpa"]


def test_what_speaks_no_tls_is_a_tls_problem(serve: Serve, site: Site) -> None:
    client = Client(serve(validation={"tls_port": site.port, **HERE})).register()
    assert describe(answer(client, start(client, "web.lab.test", "tls-alpn-01"))) == "tls"


CAA = {"caa": True, "caa_identities": ("ca.example",)}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("free.lab.test", "issued"),
        ("mine.caa.lab.test", "issued"),
        ("below.mine.caa.lab.test", "issued"),
        ("method.caa.lab.test", "issued"),
        ("*.mine.caa.lab.test", "caa"),
        ("caa.lab.test", "caa"),
        ("below.caa.lab.test", "caa"),
        ("bound.caa.lab.test", "caa"),
        ("strange.caa.lab.test", "caa"),
    ],
)
def test_caa_is_asked_before_signing(
    serve: Serve, prove: Prove, authority: Authority, name: str, expected: str
) -> None:
    client = Client(serve(validation=CAA)).register()
    order = client.order(name)
    prove(client, order)
    reply = client.finalize(order, make_csr(name))
    if expected == "issued":
        assert reply.status == 200, reply.document
    else:
        assert kind(reply) == (400, "caa")
        assert client.post(order.headers["Location"]).document["status"] == "ready"


def test_caa_may_name_the_account(settings: AcmeSettings) -> None:
    looks = replace(settings.validation, **CAA)
    check("bound.caa.lab.test", Claim(f"{BASE}/acct/1", "dns-01", wildcard=False), looks)
    with pytest.raises(Problem):
        check("bound.caa.lab.test", Claim(f"{BASE}/acct/2", "dns-01", wildcard=False), looks)


def test_caa_may_name_the_method(settings: AcmeSettings) -> None:
    looks = replace(settings.validation, **CAA)
    check("method.caa.lab.test", Claim("", "http-01", wildcard=False), looks)
    with pytest.raises(Problem):
        check("method.caa.lab.test", Claim("", "tls-alpn-01", wildcard=False), looks)


def test_without_an_answer_about_caa_nothing_is_signed(serve: Serve, prove: Prove, unused_port: int) -> None:
    client = Client(serve()).register()
    order = client.order("free.lab.test")
    prove(client, order)
    deaf = {"resolvers": (("127.0.0.1", unused_port),), "timeout_s": 0.2}
    client.server = serve(validation={**CAA, **deaf})
    assert kind(client.finalize(order, make_csr("free.lab.test"))) == (400, "caa")


def test_a_look_that_was_cut_off_is_taken_up_again(
    serve: Serve, site: Site, settings: AcmeSettings, authority: Authority
) -> None:

    first = Client(serve(validation={"http_port": site.port, **HERE})).register()
    challenge = start(first, "web.lab.test")
    site.pages[f"/.well-known/acme-challenge/{challenge['token']}"] = first.key_authorization(challenge)
    with authority.database.write() as connection:  # what a process leaves that is killed while it looks
        challenges = {"http-01": {"status": "processing"}}
        connection.execute(sa.update(authorization).values(status="processing", challenges=challenges))
    assert first.post(challenge["url"]).document["status"] == "processing"
    second = serve(validation={"http_port": site.port, **HERE})
    second.close()  # waits for what was begun
    assert first.post(challenge["url"]).document["status"] == "valid"


class Line:
    """A server on one port whose connections are answered by one function after the other."""

    def __init__(self, *answers: Callable[[socket.socket], None]) -> None:
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(20)
        self.port = int(self._listener.getsockname()[1])
        self.asked = threading.Event()

    def serve_forever(self, poll_interval: float) -> None:
        del poll_interval
        for answer_one in self._answers:
            with self._listener.accept()[0] as plain, suppress(OSError):
                plain.settimeout(20)
                self.asked.set()
                answer_one(plain)

    def shutdown(self) -> None:
        """Each answers as often as it is asked."""

    def server_close(self) -> None:
        self._listener.close()


def redirect(location: bytes) -> Callable[[socket.socket], None]:
    def send(plain: socket.socket) -> None:
        plain.recv(4096)
        plain.sendall(b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\n\r\n")

    return send


def drip(plain: socket.socket) -> None:
    """One byte now and then, until the other side has had enough."""
    plain.recv(4096)
    plain.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
    plain.settimeout(0.05)
    while True:
        plain.sendall(b"x")
        with suppress(TimeoutError):
            if not plain.recv(1):
                return


def at_line(serve: Serve, line: Line, **looks: Any) -> Client:
    return Client(serve(validation={"http_port": line.port, **HERE, **looks})).register()


def test_a_look_ends_in_time_however_slowly_it_is_answered_and_is_one_look(serve: Serve) -> None:
    with run(Line(drip)) as line:
        client = at_line(serve, line, timeout_s=0.7)
        challenge = start(client, "web.lab.test")
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda _: client.post(challenge["url"], {}), range(2)))
        assert {one.document["status"] for one in answers} == {"processing"}
        assert describe(client.wait(challenge["url"])) == "connection"


def test_no_time_is_left_after_the_end() -> None:
    with pytest.raises(TimeoutError):
        Deadline(0).rest_s()


@pytest.mark.parametrize("location", [b"http://[", b"http://[::1", b"http://web.lab.test:99999/"])
def test_redirects_to_what_is_no_url_end_the_look(serve: Serve, location: bytes) -> None:
    with run(Line(redirect(location))) as line:
        client = at_line(serve, line)
        assert describe(answer(client, start(client, "web.lab.test"))) == "connection"


def test_a_redirect_to_tls_and_beyond_ascii_is_followed(serve: Serve, tmp_path: Path) -> None:
    key, leaf = make_key(), tmp_path / "tls.pem"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "whoever")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    leaf.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(leaf)
    asked, expected = list[bytes](), list[bytes]()

    def secured(plain: socket.socket) -> None:
        with context.wrap_socket(plain, server_side=True) as tls:
            asked.append(tls.recv(4096).split(b" ")[1])
            tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + expected[0])

    def there(plain: socket.socket) -> None:
        redirect(f"https://web.lab.test:{line.port}/".encode() + "é".encode("latin-1"))(plain)

    with run(Line(there, secured)) as line:
        client = at_line(serve, line)
        challenge = start(client, "web.lab.test")
        expected.append(client.key_authorization(challenge).encode())
        assert describe(answer(client, challenge)) == "valid"
    assert asked == [b"/%C3%A9"]


class Resolver(threading.Thread):
    """Answers CNAME questions' way: each name is an alias of another one, or nothing has a record."""

    def __init__(self, *, aliases: bool) -> None:
        super().__init__()
        self._aliases = aliases
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.place = self._socket.getsockname()

    def run(self) -> None:
        while len(data := (received := self._socket.recvfrom(4096))[0]) > 1:
            reply = dns.message.make_response(dns.message.from_wire(data))
            if self._aliases:
                name = reply.question[0].name
                target = f"x{name.labels[0].decode()}.lab.test."
                reply.answer.append(dns.rrset.from_text(name, 60, "IN", "CNAME", target))
            self._socket.sendto(reply.to_wire(), received[1])

    def __enter__(self) -> ValidationSettings:
        self.start()
        return ValidationSettings(resolvers=(self.place,), **CAA)

    def __exit__(self, *_: object) -> None:
        self._socket.sendto(b".", self.place)
        self.join()
        self._socket.close()


def test_aliases_are_followed_so_far_only() -> None:
    with Resolver(aliases=True) as looks, pytest.raises(LookupFailed, match="too many"):
        ask("a.lab.test", "TXT", looks)


def test_an_alias_out_of_the_zone_is_asked_for(web: Client) -> None:
    assert describe(answer(web, start(web, "outside.lab.test"))) == "dns"


def test_where_nobody_has_caa_records_everybody_may_issue() -> None:
    with Resolver(aliases=False) as looks:
        check("www.example.test", Claim("", "dns-01", wildcard=False), looks)


def test_without_resolvers_those_of_the_system_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def empty() -> dns.resolver.Resolver:
        return dns.resolver.Resolver("/dev/null")

    monkeypatch.setattr("dns.resolver.get_default_resolver", empty)
    with pytest.raises(LookupFailed, match="no DNS servers configured"):
        ask("www.example.test", "A", ValidationSettings())
    system = dns.resolver.Resolver(configure=False)
    system.nameservers = ["127.255.255.254"]  # where nobody listens
    monkeypatch.setattr("dns.resolver.get_default_resolver", lambda: system)
    with pytest.raises(LookupFailed, match=r"127\.255\.255\.254: "):
        ask("www.example.test", "A", ValidationSettings(timeout_s=0.1))
