# SPDX-License-Identifier: Apache-2.0
"""A world small enough to be killed at every step: a device, a CA and an observer in memory.

They keep their state when the orchestrator dies, as real ones do; ``Killed`` stands for SIGKILL.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography import x509 as cx509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ottr import x509
from ottr.acme import IssueRequest, OrderLog
from ottr.errors import KeyLost, OttrError, VerificationError
from ottr.model import (
    CertificateRequest,
    Device,
    Endpoint,
    Facts,
    IssuedCertificate,
    RenewalInfo,
    RotationResult,
    Route,
    Secret,
    SigningRequest,
    TxtRecord,
)
from ottr.orchestrator import devicerun
from ottr.orchestrator.target import Authority, Stores, Surroundings, Target
from ottr.policy import Decision, decide
from ottr.probe import Served
from ottr.settings import RotationSettings
from ottr.state.certificates import Certificates
from ottr.state.database import Database
from ottr.state.journal import Journal
from ottr.state.leases import Leases, Owner
from ottr.state.schedules import Schedules
from ottr.state.view import load_view

NOW = dt.datetime(2026, 11, 22, 3, 0, tzinfo=dt.UTC)


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Trouble:
    """What goes wrong next: called with the name of each act; raises, or does nothing."""

    happen: Callable[[str], None] = lambda act: None
    acts: list[str] = field(default_factory=list)

    def __call__(self, act: str) -> None:
        self.acts.append(act)
        self.happen(act)


def self_signed(names: tuple[str, ...], key: ec.EllipticCurvePrivateKey) -> str:
    name = cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    return _build(name, name, key.public_key(), names, key, 3650)


def _build(subject, issuer, public_key, names, signing_key, days) -> str:
    san = cx509.SubjectAlternativeName([cx509.DNSName(name) for name in names])
    certificate = (
        cx509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(cx509.random_serial_number())
        .not_valid_before(NOW - dt.timedelta(hours=1))
        .not_valid_after(NOW + dt.timedelta(days=days))
        .add_extension(san, critical=False)
        .sign(signing_key, hashes.SHA256())
    )
    return certificate.public_bytes(Encoding.PEM).decode()


def make_leaf(name: str, days: int) -> str:
    """A certificate, in PEM, that no CA here has issued."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = cx509.Name([cx509.NameAttribute(cx509.NameOID.COMMON_NAME, "Somebody's CA")])
    return _build(cx509.Name([]), issuer, key.public_key(), [name], key, days)


class MemoryDevice:
    """Serves one certificate; keys never leave it. Also its own driver session."""

    def __init__(self, device: Device, trouble: Trouble) -> None:
        self.device = device
        self.trouble = trouble
        original = ec.generate_private_key(ec.SECP256R1())
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {"original": original}
        self.leaves: dict[str, str] = {"original": self_signed(device.dns_names, original)}
        self.bound = "original"
        self.armed = ""
        self.serves_stale = False
        self.stale_ports: frozenset[int] = frozenset()
        self.problems: tuple[str, ...] = ()
        self.remarks: tuple[str, ...] = ()

    def served(self) -> str:
        return self.leaves["original" if self.serves_stale else self.bound]

    def check_sound(self) -> None:
        """The invariant of everything: what is bound has its key."""
        leaf = x509.parse_certificate(self.leaves[self.bound])
        assert leaf.spki_der == _spki(self.keys[self.bound])

    def inspect(self) -> Facts:
        self.trouble("inspect")
        return Facts(self.bound, self.leaves[self.bound])

    def create_csr(self, request: CertificateRequest) -> SigningRequest:
        self.trouble("create_csr")
        key = self.keys.setdefault(request.label, ec.generate_private_key(ec.SECP256R1()))
        self.trouble("create_csr done")
        san = cx509.SubjectAlternativeName([cx509.DNSName(name) for name in request.dns_names])
        builder = cx509.CertificateSigningRequestBuilder().subject_name(cx509.Name([])).add_extension(san, False)
        return SigningRequest(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode())

    def install(self, request: CertificateRequest, issued: IssuedCertificate) -> None:
        self.trouble("install")
        if request.label not in self.keys:
            raise KeyLost
        self.leaves[request.label] = issued.leaf_pem
        self.trouble("install stored")
        self.bound = request.label
        self.trouble("install done")

    def rollback(self, request: CertificateRequest, before: Facts) -> None:
        self.trouble("rollback")
        self.bound = before.bound
        self.trouble("rollback done")

    def cleanup(self, labels: frozenset[str]) -> None:
        self.trouble("cleanup")
        for label in labels - {self.bound}:
            self.keys.pop(label, None)
            self.leaves.pop(label, None)
        self.trouble("cleanup done")

    def arm(self, request: CertificateRequest, before: Facts, seconds: int) -> None:
        self.trouble("arm")
        self.armed = before.bound

    def disarm(self, request: CertificateRequest) -> None:
        self.trouble("disarm")
        self.armed = ""

    def labels(self) -> frozenset[str]:
        return frozenset(label for label in self.keys if label.startswith("ottr-"))

    def check(self) -> tuple[str, ...]:
        self.trouble("check")
        return self.problems

    def notices(self) -> tuple[str, ...]:
        return self.remarks

    def fire(self) -> None:
        """The dead-man timer runs out."""
        self.bound = self.armed or self.bound
        self.armed = ""


class MemoryIssuer:
    """A CA that remembers its orders by URL."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.orders: dict[str, IssuedCertificate | None] = {}
        self.revoked: list[str] = []
        self.issued = 0
        self.offers = False
        self.window: RenewalInfo | None = None

    def issue(self, request: IssueRequest, log: OrderLog) -> IssuedCertificate:
        self.trouble("issue")
        url = log.order_url()
        if url not in self.orders:
            url = f"https://ca.test/order/{len(self.orders)}"
            self.orders[url] = None
            log.ordered(url)
        record = TxtRecord("_acme-challenge." + request.dns_names[0], "value")
        log.presenting(record)
        self.trouble("present")
        done = self.orders[url]
        if done is None:
            log.finalizing()
            done = self.orders[url] = self._sign(request)
        self.trouble("issued")
        log.removed(record)
        return done

    def _sign(self, request: IssueRequest) -> IssuedCertificate:
        self.issued += 1
        csr = cx509.load_pem_x509_csr(request.csr.pem.encode())
        issuer = cx509.Name([cx509.NameAttribute(NameOID.COMMON_NAME, "Memory CA")])
        leaf = _build(cx509.Name([]), issuer, csr.public_key(), request.dns_names, self.key, 90)
        return IssuedCertificate(leaf, "")

    def account_url(self) -> str:
        return "https://ca.test/account/1"

    def change_account_key(self) -> None:
        self.trouble("key change")

    def check_clock(self) -> None:
        self.trouble("clock")

    def caa_identities(self) -> tuple[str, ...]:
        self.trouble("directory")
        return ("ca.test",)

    def offers_renewal_info(self) -> bool:
        self.trouble("directory")
        return self.offers

    def renewal_info(self, leaf_pem: str) -> RenewalInfo | None:
        self.trouble("renewal_info")
        return self.window

    def revoke(self, leaf_pem: str, reason: int = 0) -> None:
        self.trouble("revoke")
        self.revoked.append(leaf_pem)


class MemoryProbe:
    """Sees what the device serves; at some endpoints, perhaps, something else."""

    def __init__(self, device: MemoryDevice, trouble: Trouble, elsewhere: dict[int, Served]) -> None:
        self.device = device
        self.trouble = trouble
        self.elsewhere = elsewhere

    def verify(self, endpoints, issued: IssuedCertificate, timeout_s: float) -> None:
        self.trouble("verify")
        if self.device.served() != issued.leaf_pem or any(each.port in self.device.stale_ports for each in endpoints):
            raise VerificationError("serves something else")

    def serves(self, endpoint: Endpoint, leaf: x509.Certificate) -> bool:
        return x509.parse_certificate(self.device.served()) == leaf

    def await_served(self, endpoints, leaf: x509.Certificate, timeout_s: float) -> str:
        self.trouble("await_served")
        return "" if all(self.serves(endpoint, leaf) for endpoint in endpoints) else "it serves something else"

    def observe(self, endpoint: Endpoint) -> Served:
        self.trouble("observe")
        leaf = x509.parse_certificate(self.device.served())
        problem = "self-signed certificate" if leaf.self_signed else ""
        return self.elsewhere.get(endpoint.port) or Served(leaf, problem)


class MemoryRecorder:
    """An inventory that keeps what it is told."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.recorded: dict[str, str] = {}
        self.warning = ""

    def record(self, device: Device, certificate: x509.Certificate) -> str:
        self.trouble("record")
        self.recorded[device.name] = certificate.sha256
        return self.warning


class MemoryHooks:
    """Hooks that say what they were called for."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.error: OttrError | None = None
        self.warning = ""

    def before(self, target: Target) -> None:
        self.called.append("before")
        if self.error:
            raise self.error

    def after(self, target: Target, result: RotationResult) -> str:
        self.called.append(f"after {result.outcome}")
        return self.warning


class MemoryPublisher:
    """A zone of which only removals matter here."""

    def __init__(self) -> None:
        self.cleaned: list[TxtRecord] = []
        self.probed: list[str] = []
        self.caa = ""
        self.error: OttrError | None = None

    def locate(self, identifier: str) -> str:
        return f"_acme-challenge.{identifier}"

    def present(self, record: TxtRecord) -> None: ...

    def wait(self, record: TxtRecord) -> None: ...

    def probe(self, identifier: str) -> None:
        self.probed.append(identifier)
        if self.error:
            raise self.error

    def refusing_caa(self, identifier: str, identities: Sequence[str]) -> str:
        if self.error:
            raise self.error
        return self.caa

    def cleanup(self, record: TxtRecord) -> None:
        if self.error:
            raise self.error
        self.cleaned.append(record)


class World:
    """One device, one CA, one state database; each ``run`` is a fresh orchestrator process."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.url = Secret(url or f"sqlite:///{folder}/state.db")
        self.now = NOW
        self.trouble = Trouble()
        self.target = Target(
            Device("web1", "linux", "192.0.2.1", ("web1.example.com", "www.example.com")),
            Route("memory", "ca", endpoints=(Endpoint("192.0.2.1", 443, "web1.example.com"),)),
        )
        self.device = MemoryDevice(self.target.device, self.trouble)
        self.issuer = MemoryIssuer(self.trouble)
        self.recorder = MemoryRecorder(self.trouble)
        self.hooks = MemoryHooks()
        self.publisher = MemoryPublisher()
        self.elsewhere: dict[int, Served] = {}
        self.settings = RotationSettings()
        self.issuer_names: tuple[str, ...] = ("CN=Memory CA",)
        self.owners = 0

    def clock(self) -> dt.datetime:
        return self.now

    @contextmanager
    def connect(self, target: Target) -> Iterator[MemoryDevice]:
        self.trouble("connect")
        yield self.device

    def surroundings(self) -> Surroundings:
        """A new process: nothing but what is in the database survives. Its predecessor is dead."""
        self.owners += 1
        database = Database(self.url)
        probe = MemoryProbe(self.device, self.trouble, self.elsewhere)
        owner = Owner(f"owner{self.owners}", "machine", 1, f"start{self.owners}", "host")
        leases = Leases(database, owner, self.clock)
        return Surroundings(
            stores=Stores(
                journal=Journal(database, leases, self.clock),
                leases=leases,
                certificates=Certificates(database),
                schedules=Schedules(database, self.clock),
            ),
            authorities={"ca": Authority(self.issuer, probe, self.issuer_names)},
            publisher=self.publisher,
            connect=self.connect,
            recorder=self.recorder,
            hooks=self.hooks,
            settings=self.settings,
            clock=self.clock,
            wait=lambda seconds: None,
        )

    def lose_database(self) -> None:
        """The next process begins with an empty one."""
        self.url = Secret(self.url.reveal() + ".new")

    def run(self, *, forced: bool = False, around: Surroundings | None = None) -> RotationResult:
        """Rotate as a run would, in a process of its own."""
        self.advance(seconds=1)  # time passes between runs
        around = around or self.surroundings()

        def decision(target: Target) -> Decision:
            stores = around.stores
            view = load_view(stores.journal, stores.certificates, stores.schedules, target.device.name)
            situation = view.situation(target.device.name, forced=forced)
            return decide(target.device, target.route, situation, self.now, self.settings, self.issuer_names)

        return devicerun.run(self.target, around, decision, lambda device, step: None)

    def reroute(self, **changes: object) -> None:
        self.target = replace(self.target, route=replace(self.target.route, **changes))

    def advance(self, **delta: float) -> None:
        self.now += dt.timedelta(**delta)


def _spki(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import PublicFormat

    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
