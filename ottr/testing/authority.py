# SPDX-License-Identifier: Apache-2.0
"""A CA in memory: a root, and an intermediate that signs whatever a device asks for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.model import IssuedCertificate, SigningRequest

_DAY = timedelta(days=1)


class Authority:
    """Issues certificates for 90 days under a root of its own."""

    def __init__(self) -> None:
        root_key, self._key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = _build_issuer("Ottr contract root", "Ottr contract root", root_key).sign(root_key, SHA256())
        issuer = _build_issuer("Ottr contract CA", "Ottr contract root", self._key).sign(root_key, SHA256())
        self._name = issuer.subject
        self._identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        self._chain_pem = _encode(issuer)
        self.root_pem = _encode(root)

    def sign(self, csr: SigningRequest) -> IssuedCertificate:
        """Issue what is asked for; the chain is the intermediate. Raises ValueError for what is no CSR."""
        wanted = x509.load_pem_x509_csr(csr.pem.encode())
        names = wanted.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        leaf = (
            _build(wanted.subject, self._name, wanted.public_key(), 90 * _DAY)
            .add_extension(names, critical=not len(wanted.subject.rdns))
            .add_extension(self._identifier, critical=False)
            .sign(self._key, SHA256())
        )
        return IssuedCertificate(_encode(leaf), self._chain_pem)


def _build_issuer(name: str, signer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        _build(_name(name), _name(signer), key.public_key(), 3650 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _build(
    subject: x509.Name, issuer: x509.Name, key: CertificatePublicKeyTypes, lifetime: timedelta
) -> x509.CertificateBuilder:
    start = datetime.now(UTC) - _DAY
    return x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), start, start + lifetime)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])


def _encode(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()
