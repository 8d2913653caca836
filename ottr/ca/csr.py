# SPDX-License-Identifier: Apache-2.0
"""Requests: what a CSR asks for that the CA may listen to, and the rest only by name."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import NameOID

from ottr.ca.keys import PublicKey, judge_key
from ottr.ca.model import Names
from ottr.ca.names import read_san
from ottr.errors import NameRefused, RequestRefused

MOST_BYTES = 64 * 1024
_WEAK = frozenset({"md5", "sha1"})


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be certified. Extensions of a CSR other than its names are never part of it."""

    public_key: PublicKey = field(repr=False)
    names: Names = field(default_factory=Names)
    subject: x509.Name = field(default_factory=lambda: x509.Name([]))
    """What was asked for; the profile decides what of it is taken over."""
    ignored: tuple[str, ...] = ()
    """Extensions that were asked for and are not listened to, as dotted numbers or names."""

    @property
    def common_name(self) -> str:
        """The one of the subject; empty without."""
        return read_common_name(self.subject)


def read_common_name(subject: x509.Name) -> str:
    """The last common name, which is the most specific; empty without."""
    found = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[-1].value) if found else ""


def parse_csr(csr: bytes) -> Request:
    """Read a CSR, PEM or DER, and check its signature. Raises RequestRefused, and NameRefused for its names."""
    if len(csr) > MOST_BYTES:
        raise RequestRefused(f"the CSR has {len(csr)} bytes, {MOST_BYTES} are the most")
    try:
        parsed = (x509.load_pem_x509_csr if b"-----BEGIN" in csr else x509.load_der_x509_csr)(csr)
        return _read(parsed)
    except x509.UnsupportedGeneralNameType as error:
        raise NameRefused("the CSR asks for a name of a kind that is not signed") from error
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion) as error:
        raise RequestRefused("the CSR cannot be read") from error


def _read(csr: x509.CertificateSigningRequest) -> Request:
    key = csr.public_key()
    judge_key(key)
    digest = csr.signature_hash_algorithm
    if digest is not None and digest.name in _WEAK:
        raise RequestRefused(f"the CSR is signed with {digest.name}", hint="make it with SHA-256")
    if not csr.is_signature_valid:
        raise RequestRefused("the signature of the CSR is not made with its key")
    names, ignored = Names(), []
    for extension in csr.extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names = read_san(extension.value)
        else:
            ignored.append(_label(extension.oid))
    return Request(key, names, csr.subject, tuple(ignored))  # type: ignore[arg-type]  # judge_key knows the kinds


def _label(oid: x509.ObjectIdentifier) -> str:
    name: str = oid._name
    return oid.dotted_string if name == "Unknown OID" else name
