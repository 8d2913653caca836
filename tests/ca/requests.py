# SPDX-License-Identifier: Apache-2.0
"""What tests ask the CA for."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from ottr.ca.csr import Request
from ottr.ca.issuance import Terms
from ottr.ca.keys import PrivateKey, generate_key
from ottr.ca.model import KeyAlgorithm
from ottr.ca.names import ANY_NAME, parse_names

SERVER = Terms("server", ANY_NAME, "operator")
CLIENT = Terms("client", ANY_NAME, "operator")


def build_request(*names: str, common_name: str = "", algorithm: KeyAlgorithm = KeyAlgorithm.EC256) -> Request:
    """A request with a new key."""
    return Request(generate_key(algorithm).public_key(), parse_names(names), build_name(common_name))


def build_name(common_name: str) -> x509.Name:
    """A subject of a common name, or an empty one."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def build_csr(
    *dns: str,
    common_name: str = "",
    key: PrivateKey | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    digest: hashes.HashAlgorithm | None = None,
) -> x509.CertificateSigningRequest:
    """A CSR as a client makes it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(build_name(common_name))
    if dns:
        names = x509.SubjectAlternativeName([x509.DNSName(name) for name in dns])
        builder = builder.add_extension(names, critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    chosen = None if isinstance(key, ed25519.Ed25519PrivateKey) else digest or hashes.SHA256()
    return builder.sign(key, chosen)  # type: ignore[arg-type]


def encode_csr(csr: x509.CertificateSigningRequest) -> bytes:
    """DER."""
    return csr.public_bytes(Encoding.DER)
