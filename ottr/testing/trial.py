# SPDX-License-Identifier: Apache-2.0
"""One device under test with the driver, a CA, and an observer: what the clauses are written in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ottr.drivers import Driver, DriverModule
from ottr.model import CertificateRequest, Facts, IssuedCertificate, SigningRequest
from ottr.probe import Probe, Served
from ottr.testing.authority import Authority
from ottr.testing.stand import Access, Stand, Subject
from ottr.x509 import parse_certificate


class ClauseBroken(Exception):
    """The driver does not do what a clause asks for; the text says what was seen."""


def expect(kept: object, problem: str) -> None:
    """Raise ClauseBroken with the problem unless it is kept."""
    if not kept:
        raise ClauseBroken(problem)


@dataclass(frozen=True, slots=True)
class Rotation:
    """What a rotation was asked for, what came of it, and what was there before."""

    request: CertificateRequest
    issued: IssuedCertificate
    before: Facts

    @property
    def sha256(self) -> str:
        """Fingerprint of the new certificate."""
        return parse_certificate(self.issued.leaf_pem).sha256


class Bench:
    """Where the devices of one release are tried out, each in a folder of its own below ``folder``."""

    def __init__(self, driver: DriverModule, stand: Stand, version: str, folder: Path) -> None:
        self.driver = driver
        self.authority = Authority()
        self.numbers = itertools.count(1)
        self.roots = folder / "roots.pem"
        self.roots.write_text(self.authority.root_pem)
        self._stand = stand
        self._version = version
        self._folder = folder

    @contextmanager
    def start(self) -> Iterator[Trial]:
        """Run one device."""
        folder = self._folder / f"device{next(self.numbers)}"
        folder.mkdir()
        with self._stand.start(self._version, folder, self.roots) as subject:
            yield Trial(self, subject)


class Trial:
    """One device of a bench."""

    def __init__(self, bench: Bench, subject: Subject) -> None:
        self.bench = bench
        self.subject = subject
        self._probe = Probe(bench.roots)

    def connect(self, access: Access | None = None) -> AbstractContextManager[Driver]:
        """Open a session. Raises DriverError."""
        access = access or self.subject.access
        return self.bench.driver.connect(access.device, access.options, access.credentials)

    def ask(self) -> CertificateRequest:
        """Make a request with a label that no other has."""
        label = f"ottr-contract-{next(self.bench.numbers)}"
        return CertificateRequest(label, self.subject.access.device.dns_names)

    def sign(self, csr: SigningRequest) -> IssuedCertificate:
        """Issue a certificate for a CSR."""
        return self.bench.authority.sign(csr)

    def prepare(self) -> Rotation:
        """Make a key and issue its certificate, and install nothing."""
        request = self.ask()
        with self.connect() as session:
            before = session.inspect()
            csr = session.create_csr(request)
        return Rotation(request, self.sign(csr), before)

    def install(self, rotation: Rotation) -> None:
        """Install what was issued, in a new session, and see that it is served. Raises ClauseBroken, DriverError."""
        with self.connect() as session:
            session.install(rotation.request, rotation.issued)
        served = self.observe()
        found = served.certificate.sha256 if served.certificate else ""
        expect(found == rotation.sha256, f"after install the new certificate is not served: {served.problem or found}")
        expect(not served.problem, f"after install a client would refuse what is served: {served.problem}")

    def rotate(self) -> Rotation:
        """Rotate the device's certificate. Raises ClauseBroken, DriverError."""
        rotation = self.prepare()
        self.install(rotation)
        return rotation

    def roll_back(self, rotation: Rotation) -> None:
        """Roll a rotation back, in a new session. Raises DriverError."""
        with self.connect() as session:
            session.rollback(rotation.request, rotation.before)

    def clean_up(self, *labels: str) -> None:
        """Remove the objects of these labels, in a new session. Raises DriverError."""
        with self.connect() as session:
            session.cleanup(frozenset(labels))

    def observe(self) -> Served:
        """Handshake with the device when nothing goes on any more."""
        self.subject.settle()
        return self._probe.observe(self.subject.endpoint)

    def served(self) -> str:
        """Fingerprint of what is served when nothing goes on any more; empty: nothing is."""
        seen = self.observe().certificate
        return seen.sha256 if seen else ""

    def look(self) -> tuple[str, str]:
        """What is served, and the state of the device."""
        return self.served(), self.subject.state_hash()
