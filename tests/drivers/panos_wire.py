# SPDX-License-Identifier: Apache-2.0
"""Speaks the XML API to a simulator, for its tests: nothing of the driver, nothing of the simulator's code."""

from __future__ import annotations

import hashlib
import http.client
import socket
import ssl
import urllib.parse
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ottr.drivers.panos.simulator import PanosSimulator
from ottr.simulation.server import wait_until

PROFILE = "/config/shared/ssl-tls-service-profile/entry[@name='management']"
CERTIFICATES = "/config/shared/certificate"


@dataclass(frozen=True)
class Answer:
    """One answer of the device."""

    http: int
    body: bytes
    headers: dict[str, str]

    @property
    def root(self) -> ET.Element:
        return ET.fromstring(self.body)

    @property
    def status(self) -> str:
        return self.root.get("status", "")

    @property
    def code(self) -> str:
        return self.root.get("code", "")

    @property
    def text(self) -> str:
        return "\n".join(part.strip() for part in self.root.itertext() if part.strip())

    def find(self, path: str) -> str:
        return self.root.findtext(path) or ""


@dataclass
class Wire:
    """One client with a key, sent as the version of the device wants it."""

    device: PanosSimulator
    username: str = ""
    password: str = ""
    in_header: bool = True
    key: str = field(default="", repr=False)

    def send(
        self, method: str = "POST", query: str = "", body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPSConnection(
            self.device.address, self.device.port, timeout=20, context=ssl._create_unverified_context()
        )
        try:
            connection.request(method, f"/api/{query}", body or None, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.read(), {k.lower(): v for k, v in response.getheaders()})
        finally:
            connection.close()

    def log_in(self) -> Wire:
        user, password = self.username or self.device.username, self.password or self.device.password
        self.key = self.post(type="keygen", user=user, password=password, anonymous=True).find("result/key")
        assert self.key
        return self

    def post(self, *, anonymous: bool = False, **parameters: str) -> Answer:
        fields = {name.replace("_", "-"): value for name, value in parameters.items()}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        if self.in_header and not anonymous:
            headers["X-PAN-KEY"] = self.key
        elif not anonymous:
            fields["key"] = self.key
        return self.send(body=urllib.parse.urlencode(fields).encode(), headers=headers)

    def op(self, cmd: str, **parameters: str) -> Answer:
        return self.post(type="op", cmd=cmd, **parameters)

    def config(self, action: str, xpath: str, **parameters: str) -> Answer:
        return self.post(type="config", action=action, xpath=xpath, **parameters)

    def generate(self, name: str, algorithm: str = "", inner: str = "", **parameters: str) -> Answer:
        algorithm = algorithm or "<ECDSA><ecdsa-nbits>256</ecdsa-nbits></ECDSA>"
        return self.op(
            f"<request><certificate><generate><certificate-name>{name}</certificate-name>"
            f"<name>fw1.example.com</name><algorithm>{algorithm}</algorithm><digest>sha256</digest>"
            f"<hostname><member>fw1.example.com</member></hostname><signed-by>external</signed-by>{inner}"
            "</generate></certificate></request>",
            **parameters,
        )

    def export(self, name: str, **parameters: str) -> Answer:
        wanted = {"format": "pkcs10", "include_key": "no", **parameters}
        return self.post(type="export", category="certificate", certificate_name=name, **wanted)

    def upload(self, name: str, pem: str, query: str = "?type=import", **fields: str) -> Answer:
        given = {"category": "certificate", "format": "pem", **{k.replace("_", "-"): v for k, v in fields.items()}}
        parts = {"certificate-name": name, **given}
        boundary = "otter" * 4
        body = "".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in parts.items()
        )
        body += (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="c.pem"\r\n'
            f"Content-Type: application/octet-stream\r\n\r\n{pem}\r\n--{boundary}--\r\n"
        )
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "X-PAN-KEY": self.key}
        if not self.in_header:
            del headers["X-PAN-KEY"]
            body = f'--{boundary}\r\nContent-Disposition: form-data; name="key"\r\n\r\n{self.key}\r\n{body}'
        return self.send(query=query, body=body.encode(), headers=headers)

    def bind(self, name: str, profile: str = PROFILE) -> Answer:
        return self.config("set", profile, element=f"<certificate>{name}</certificate>")

    def commit(self, user: str = "") -> Answer:
        user = user or self.username or self.device.username
        cmd = f"<commit><partial><admin><member>{user}</member></admin></partial></commit>"
        return self.post(type="commit", action="partial", cmd=cmd)

    def commit_all(self) -> Answer:
        return self.post(type="commit", cmd="<commit></commit>")

    def job(self, number: str) -> Answer:
        return self.op(f"<show><jobs><id>{number}</id></jobs></show>")

    def finish(self, answer: Answer) -> Answer:
        """Wait for the job of a commit's answer, through the web server's restart."""
        number = answer.find("result/job")
        assert number, answer.text
        last: list[Answer] = []

        def done() -> bool:
            try:
                last.append(self.job(number))
            except (OSError, http.client.HTTPException):
                return False
            return last[-1].find("result/job/status") == "FIN"

        assert wait_until(done)
        return last[-1]

    def prepare(self, name: str) -> str:
        """Key and CSR made, certificate signed and imported; returns the certificate."""
        assert self.generate(name).status == "success"
        pem = sign(self.export(name).body)
        assert self.upload(name, pem).status == "success"
        return pem


_CA_KEY = ec.generate_private_key(ec.SECP256R1())
_CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test issuer")])


def issue(subject: x509.Name, key: object, extensions: x509.Extensions | None = None, *, ca: bool = False) -> str:
    """A certificate for a public key, PEM."""
    now = datetime.now(UTC) - timedelta(minutes=5)
    builder = x509.CertificateBuilder(
        _CA_NAME,
        subject,
        key,  # type: ignore[arg-type]
        x509.random_serial_number(),
        now,
        now + timedelta(days=90),
    ).add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    for extension in extensions or ():
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(_CA_KEY, SHA256()).public_bytes(Encoding.PEM).decode()


def issuer() -> str:
    """The certificate of whoever signs, PEM."""
    return issue(_CA_NAME, _CA_KEY.public_key(), ca=True)


def sign(csr: bytes) -> str:
    """Sign a CSR; the leaf, PEM."""
    request = x509.load_pem_x509_csr(csr)
    return issue(request.subject, request.public_key(), request.extensions)


def fingerprint(pem: str) -> str:
    return x509.load_pem_x509_certificate(pem.encode()).fingerprint(SHA256()).hex()


def handshake(address: str, port: int) -> str:
    """The fingerprint a client sees. Raises OSError."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address, port), 10) as plain,
        context.wrap_socket(plain) as secured,
    ):
        return hashlib.sha256(secured.getpeercert(binary_form=True) or b"").hexdigest()


def seen(device: PanosSimulator, service: str = "management") -> str:
    return handshake(device.address, device.ports[service])
