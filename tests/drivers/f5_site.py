# SPDX-License-Identifier: Apache-2.0
"""A simulated BIG-IP, the driver's session with it, and a CA that signs what the device asks for."""

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

from ottr.drivers.f5.session import open_device
from ottr.drivers.f5.simulator import F5Simulator
from ottr.model import CertificateRequest, Credentials, Device, IssuedCertificate, KeyType, Secret
from ottr.simulation.server import wait_until
from tests.unit.authority import Authority

NAMES = ("site.example.com", "www.example.com")
VERSIONS = ("14.1.4", "15.1.8", "16.1.2", "17.1.1")
PLACES = ("client_ssl", "management")
QUICK: Mapping[str, Any] = {
    "poll_interval": 0.05,
    "restart_timeout": 5,
    "sync_timeout": 3,
    "request_timeout": 20,
    "ssh_port": 0,
}
OPTIONS: Mapping[str, Mapping[str, Any]] = {"client_ssl": {"client_ssl": "site"}, "management": {"management": True}}
SERVICES = {"client_ssl": "web", "management": "management"}


def make_request(label: str = "ottr-abcd-1", key_type: KeyType = KeyType.EC256) -> CertificateRequest:
    return CertificateRequest(label, NAMES, key_type)


@dataclass
class Site:
    """One device under test, and one place of it."""

    simulator: F5Simulator
    place: str = "client_ssl"
    root: Authority = field(default_factory=Authority)
    options: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=lambda: {"certificate_validation": False})
    password: str = ""
    username: str = ""

    def __post_init__(self) -> None:
        self.options = {**QUICK, **OPTIONS[self.place], **self.options}

    @cached_property
    def authority(self) -> Authority:
        return Authority("Intermediate", self.root)

    def device(self) -> Device:
        variables = {"ansible_port": self.simulator.port, **self.variables}
        version = self.simulator.settings.os_version
        return Device("lb1", "bigip", self.simulator.address, NAMES, os_version=version, variables=variables)

    def credentials(self) -> Credentials:
        secret = Secret(self.password or self.simulator.password)
        return Credentials(username=self.username or self.simulator.username, password=secret)

    def open(self) -> AbstractContextManager[Any]:
        return open_device(self.device(), self.options, self.credentials(), wait=wait_briefly)

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

    def rotate(self, label: str = "ottr-abcd-1", key_type: KeyType = KeyType.EC256) -> IssuedCertificate:
        request = make_request(label, key_type)
        issued = self.issue(request)
        with self.open() as driver:
            driver.install(request, issued)
        return issued

    def served(self, service: str = "") -> str:
        assert self.simulator.wait_until_idle()
        return self.simulator.served_fingerprint(service or SERVICES[self.place])

    def serves(self, issued: IssuedCertificate) -> bool:
        return wait_until(lambda: self.served() == fingerprint(issued), 3.0)

    def requests(self) -> list[str]:
        return self.simulator.requests.operations()


def fingerprint(issued: IssuedCertificate) -> str:
    return x509.load_pem_x509_certificate(issued.leaf_pem.encode()).fingerprint(hashes.SHA256()).hex()


def wait_briefly(seconds: float) -> None:
    time.sleep(min(seconds, 0.05))


@contextmanager
def run_site(version: str = "16.1.2", place: str = "client_ssl", **more: Any) -> Iterator[Site]:
    with F5Simulator(os_version=version, **more) as simulator:
        yield Site(simulator, place)
