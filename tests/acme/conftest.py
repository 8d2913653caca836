# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.acme import IssueRequest
from ottr.acme.issuer import AcmeIssuer
from ottr.dns.publisher import ZonePublisher
from ottr.dns.solvers import load_solver
from ottr.lab.bind import Bind
from ottr.lab.network import Network
from ottr.lab.pebble import Pebble
from ottr.model import KeyType, Secret, SigningRequest, TxtRecord
from ottr.settings import IssuerSettings, SolverSettings
from tests.acme.proxy import Proxy


@dataclass
class MemoryLog:
    """An order log that outlives the run, as the journal does; ``events`` tells the order of things."""

    url: str = ""
    events: list[str] = field(default_factory=list)
    open: list[TxtRecord] = field(default_factory=list)

    def order_url(self) -> str:
        return self.url

    def ordered(self, url: str) -> None:
        self.url = url
        self.events.append("ordered" if url else "given up")

    def presenting(self, record: TxtRecord) -> None:
        self.open.append(record)
        self.events.append("presenting")

    def finalizing(self) -> None:
        """It has no haste: everything is kept at once."""

    def removed(self, record: TxtRecord) -> None:
        self.open.remove(record)
        self.events.append("removed")


@dataclass
class Waits:
    """A waiter that remembers what it was asked for and waits a little less."""

    asked: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, seconds: float) -> None:
        with self.lock:
            self.asked.append(seconds)
        time.sleep(min(seconds, 0.05))


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def make_request(*names: str, key_type: KeyType = KeyType.EC256, key: Key | None = None, **more: Any) -> IssueRequest:
    key = key or _make_key(key_type)
    csr = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[0][:64])]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .sign(key, SHA256())
    )
    pem = csr.public_bytes(Encoding.PEM).decode()
    return IssueRequest(csr=SigningRequest(pem), dns_names=names, key_type=key_type, **more)


def _make_key(key_type: KeyType) -> Key:
    if key_type is KeyType.RSA2048:
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP384R1() if key_type is KeyType.EC384 else ec.SECP256R1())


@pytest.fixture
def name() -> str:
    """A name no other test uses."""
    return f"t{secrets.token_hex(6)}.lab.test"


@pytest.fixture
def log() -> MemoryLog:
    return MemoryLog()


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture(scope="session")
def publisher(bind: Bind) -> ZonePublisher:
    settings = SolverSettings(
        "lab",
        "rfc2136",
        bind.zones,
        {"server": bind.server, "key_name": bind.tsig_name, "key_secret": Secret(bind.tsig_secret)},
        nameservers=(bind.server,),
        propagation_timeout_s=10,
        propagation_interval_s=0.1,
    )
    return ZonePublisher([(settings, load_solver(settings))])


@pytest.fixture
def start_pebble(network: Network, bind: Bind, tmp_path: Path) -> Iterator[Callable[..., Pebble]]:
    """Start a Pebble with habits of its own."""
    with ExitStack() as stack:
        yield lambda **habits: stack.enter_context(
            Pebble(tmp_path / "own-pebble", network.address(1), bind.server, **habits)
        )


@pytest.fixture
def proxy(pebble: Pebble, tmp_path: Path) -> Iterator[Proxy]:
    folder = tmp_path / "proxy"
    folder.mkdir()
    with Proxy(folder, pebble.directory, pebble.ca_bundle) as running:
        yield running


@pytest.fixture
def make_issuer(publisher: ZonePublisher, tmp_path: Path, waits: Waits) -> Callable[..., AcmeIssuer]:
    """Build an issuer for a server; keywords are IssuerSettings', or the state folder, publisher, clock, wait."""

    def build(server: Pebble | Proxy, **more: Any) -> AcmeIssuer:
        own = {key: more.pop(key) for key in ("clock", "wait", "connections") if key in more}
        state_dir = more.pop("state_dir", tmp_path / "state")
        zones = more.pop("publisher", publisher)
        defaults: dict[str, Any] = {
            "name": "test",
            "directory": server.directory,
            "ca_bundle": server.ca_bundle,
            "terms_of_service_agreed": True,
            "timeout_s": 20.0,
            "order_timeout_s": 60.0,
        }
        settings = IssuerSettings(**(defaults | more))
        return AcmeIssuer(settings, zones, state_dir, **({"wait": waits} | own))

    return build


@pytest.fixture
def issuer(make_issuer: Callable[..., AcmeIssuer], proxy: Proxy) -> AcmeIssuer:
    """An issuer whose every request passes the proxy."""
    return make_issuer(proxy)


@pytest.fixture(scope="session")
def own_certificate() -> str:
    """A certificate a machine made for itself, without any key identifier."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + timedelta(days=1))
    return certificate.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()
