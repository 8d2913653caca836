# SPDX-License-Identifier: Apache-2.0
"""A simulated PAN-OS device, the driver's session with it, and a CA that signs what the device asks for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.drivers.panos.driver import PanosDevice
from ottr.drivers.panos.session import open_device
from ottr.drivers.panos.simulator import PanosSimulator
from ottr.model import CertificateRequest, Credentials, Device, IssuedCertificate, KeyType, Secret
from tests.unit.authority import Authority

NAMES = ("fw1.example.com", "vpn.example.com")
VERSIONS = ("8.1.26", "9.1.17", "10.2.4", "11.1.2")
QUICK: Mapping[str, Any] = {
    "ssl_tls_service_profile": "management",
    "bind": "management",
    "poll_interval": 0.02,
    "busy_timeout": 0.3,
    "commit_timeout": 8,
    "restart_timeout": 5,
    "request_timeout": 10,
}


def make_request(label: str = "ottr-abcd-1", key_type: KeyType = KeyType.EC256) -> CertificateRequest:
    return CertificateRequest(label, NAMES, key_type)


@dataclass
class Site:
    """One device under test."""

    simulator: PanosSimulator
    root: Authority = field(default_factory=Authority)
    options: dict[str, Any] = field(default_factory=lambda: dict(QUICK))
    variables: dict[str, Any] = field(default_factory=lambda: {"certificate_validation": False})
    password: str = ""

    @cached_property
    def authority(self) -> Authority:
        return Authority("Intermediate", self.root)

    def device(self) -> Device:
        variables = {"ansible_port": self.simulator.port, **self.variables}
        version = self.simulator.settings.os_version
        return Device("fw1", "panos", self.simulator.address, NAMES, os_version=version, variables=variables)

    def open(self) -> AbstractContextManager[PanosDevice]:
        secret = Secret(self.password or self.simulator.password)
        credentials = Credentials(username=self.simulator.username, password=secret)
        return open_device(self.device(), self.options, credentials, wait=wait_briefly)

    def sign(self, csr_pem: str) -> IssuedCertificate:
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        now = datetime.now(UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(self.authority.name)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=90))
            .add_extension(csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, critical=False)
            .sign(self.authority.key, hashes.SHA256())
        )
        chain = self.authority.certificate.public_bytes(Encoding.PEM).decode()
        return IssuedCertificate(leaf.public_bytes(Encoding.PEM).decode(), chain)

    def issue(self, request: CertificateRequest) -> IssuedCertificate:
        with self.open() as driver:
            return self.sign(driver.create_csr(request).pem)

    def rotate(self, label: str = "ottr-abcd-1") -> IssuedCertificate:
        request = make_request(label)
        issued = self.issue(request)
        with self.open() as driver:
            driver.install(request, issued)
        return issued

    def serves(self, issued: IssuedCertificate) -> bool:
        assert self.simulator.wait_until_idle()
        return self.simulator.served_fingerprint() == fingerprint(issued)

    def requests(self) -> list[str]:
        return self.simulator.requests.operations()


def fingerprint(issued: IssuedCertificate) -> str:
    return x509.load_pem_x509_certificate(issued.leaf_pem.encode()).fingerprint(hashes.SHA256()).hex()


def wait_briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.02))


@contextmanager
def run_site(version: str = "10.2.4", **more: Any) -> Iterator[Site]:
    with PanosSimulator(os_version=version, **more) as simulator:
        yield Site(simulator)
