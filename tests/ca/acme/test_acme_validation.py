# SPDX-License-Identifier: Apache-2.0
"""How control of a name is looked at: http-01, tls-alpn-01, CAA, and what happens when looking is hard."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ottr.ca.acme.problems import Problem
from ottr.ca.acme.schema import authorization
from ottr.ca.acme.settings import AcmeSettings
from ottr.ca.acme.validation.caa import Claim, check
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
    document: dict[str, Any] = client.post(challenge["url"], {}).document
    return document


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
