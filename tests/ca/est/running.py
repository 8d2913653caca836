# SPDX-License-Identifier: Apache-2.0
"""A CA's server in a thread of the test, and curl as its client."""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from ottr.ca.authority import Authority, parse_row
from ottr.ca.csr import Request
from ottr.ca.exporting import export_key, export_pem
from ottr.ca.issuance import Terms
from ottr.ca.keys import PrivateKey, generate_key
from ottr.ca.model import Certificate, KeyAlgorithm, Names
from ottr.ca.names import ANY_NAME
from ottr.ca.serving import ServerSettings, build_server
from tests.ca.requests import build_name

CSR = "Content-Type: application/pkcs10"


@contextmanager
def serve(authority: Authority, **settings: Any) -> Iterator[int]:
    """Serve on 127.0.0.1 until the block ends; gives the port."""
    told: list[str] = []
    listening = threading.Event()

    def ready(url: str) -> None:
        told.append(url)
        listening.set()

    with ExitStack() as stack:
        server = build_server(authority, ServerSettings(port=0, **settings), ready, stack)
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            assert listening.wait(30)
            yield int(told[0].split(":")[2].split("/")[0])
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Device:
    """A key in a folder of its own, and the certificates it gets."""

    folder: Path
    key: PrivateKey = field(default_factory=lambda: generate_key(KeyAlgorithm.EC256))

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.keep_key()

    def keep_key(self) -> None:
        (self.folder / "key.pem").write_bytes(export_key(self.key, None))

    def keep(self, *chain: x509.Certificate) -> None:
        (self.folder / "cert.pem").write_bytes(export_pem(chain))

    @property
    def certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificates((self.folder / "cert.pem").read_bytes())[0]

    @property
    def identity(self) -> tuple[str, ...]:
        """How curl shows it."""
        return ("--cert", str(self.folder / "cert.pem"), "--key", str(self.folder / "key.pem"))

    def obtain(self, authority: Authority, common_name: str, profile: str = "client") -> Certificate:
        """Have the operator issue the first certificate."""
        request = Request(self.key.public_key(), Names(), build_name(common_name))
        row = authority.issue(request, Terms(profile, ANY_NAME, "operator"))
        self.keep(parse_row(row))
        return row


@dataclass(frozen=True)
class Answer:
    """What curl got; status 0: no HTTP at all."""

    status: int
    headers: dict[str, str]
    body: bytes
    problem: str

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def certificates(self) -> list[x509.Certificate]:
        return read_certificates(self.body)


def curl(url: str, *options: str, body: bytes | None = None, ca: Path | None = None) -> Answer:
    """Ask with curl; a body makes it a POST."""
    sent = () if body is None else ("--data-binary", "@-")
    trust = () if ca is None else ("--cacert", str(ca))
    done = subprocess.run(
        ["curl", "-sS", "-i", "--max-time", "20", "--http1.1", *trust, *sent, *options, url],
        input=body or b"",
        capture_output=True,
        check=False,
        timeout=30,
    )
    head, _, rest = done.stdout.partition(b"\r\n\r\n")
    if head.startswith(b"HTTP/1.1 100"):
        head, _, rest = rest.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
    status = int(lines[0].split()[1]) if head else 0
    return Answer(status, {name.lower(): value for name, value in fields.items()}, rest, done.stderr.decode())


def encode(csr: x509.CertificateSigningRequest) -> bytes:
    """As EST sends it: base64 in lines."""
    return base64.encodebytes(csr.public_bytes(Encoding.DER))


def read_certificates(body: bytes) -> list[x509.Certificate]:
    """Of a certs-only answer."""
    return pkcs7.load_der_pkcs7_certificates(base64.b64decode(body))
