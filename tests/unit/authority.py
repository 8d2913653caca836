# SPDX-License-Identifier: Apache-2.0
"""A small CA in memory, for certificates as servers have them and as they should not have them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ottr.model import IssuedCertificate

DAY = dt.timedelta(days=1)


def now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def new_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def name_of(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


@dataclass(frozen=True)
class Issued(IssuedCertificate):
    """A certificate with the key a server needs for it."""

    key: object = None

    def write(self, folder: Path, chain: str | None = None) -> tuple[Path, Path]:
        """Files for a TLS server: chain (without issuers when ``chain`` is empty) and key."""
        stem = x509.load_pem_x509_certificate(self.leaf_pem.encode()).serial_number
        certificate, key = folder / f"{stem}.pem", folder / f"{stem}.key"
        certificate.write_text(self.leaf_pem + (self.chain_pem if chain is None else chain))
        key.write_bytes(self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, key


class Authority:
    """A root, or an intermediate below another authority."""

    def __init__(self, name: str = "Root", parent: Authority | None = None) -> None:
        self.name = name_of(name)
        self.key = new_key()
        signer = parent or self
        self.certificate = (
            _builder(self.name, signer.name, self.key.public_key(), now() - DAY, now() + 3650 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(signer.key, hashes.SHA256())
        )
        self.pem = pem(self.certificate)
        self.chain_pem = "" if parent is None else self.pem + parent.chain_pem

    def issue(self, *names: str, key=None, start: dt.datetime | None = None, days: float = 90) -> Issued:
        key = key or new_key()
        start = start or now() - DAY
        general = [_general(name) for name in names]
        builder = _builder(name_of(names[0] if names else "x"), self.name, key.public_key(), start, start + days * DAY)
        if general:
            builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False
        )
        return Issued(pem(builder.sign(self.key, hashes.SHA256())), self.chain_pem, key)


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def _builder(subject, issuer, public_key, start, end) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(issuer, subject, public_key, x509.random_serial_number(), start, end)


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
