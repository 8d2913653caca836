# SPDX-License-Identifier: Apache-2.0
"""Values of the CA. Serials are lower-case hex without leading zeros, times aware UTC in whole seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from cryptography import x509


@lru_cache(maxsize=64)
def parse_der(der: bytes) -> x509.Certificate:
    """The certificate of an issuer; there are few of them, and each request wants one."""
    return x509.load_der_x509_certificate(der)


class Reason(Enum):
    """The ten reasons of RFC 5280 section 5.3.1."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key_compromise"
    CA_COMPROMISE = "ca_compromise"
    AFFILIATION_CHANGED = "affiliation_changed"
    SUPERSEDED = "superseded"
    CESSATION_OF_OPERATION = "cessation_of_operation"
    CERTIFICATE_HOLD = "certificate_hold"
    REMOVE_FROM_CRL = "remove_from_crl"
    PRIVILEGE_WITHDRAWN = "privilege_withdrawn"
    AA_COMPROMISE = "aa_compromise"

    @property
    def code(self) -> int:
        """Number of the reason in ASN.1; 7 is not used."""
        return _CODES[self]

    @property
    def flag(self) -> x509.ReasonFlags:
        """The reason as ``cryptography`` calls it."""
        return x509.ReasonFlags[self.value]

    @classmethod
    def of_code(cls, code: int) -> Reason:
        """Return the reason of a number (ACME, ASN.1). Raises ValueError for others."""
        for reason, number in _CODES.items():
            if number == code:
                return reason
        raise ValueError(f"{code} is no revocation reason")


_CODES = MappingProxyType({reason: place + (place > 6) for place, reason in enumerate(Reason)})


class Status(Enum):
    """Whether a certificate counts; that it has expired is a question of time, not of status."""

    VALID = "valid"
    HELD = "held"
    REVOKED = "revoked"


class KeyAlgorithm(Enum):
    """Kinds of keys the CA makes and signs."""

    EC256 = "ec256"
    EC384 = "ec384"
    EC521 = "ec521"
    RSA2048 = "rsa2048"
    RSA3072 = "rsa3072"
    RSA4096 = "rsa4096"
    ED25519 = "ed25519"


class Role(Enum):
    """What an issuer is for: a root signs intermediates only."""

    ROOT = "root"
    INTERMEDIATE = "intermediate"


class Phase(Enum):
    """Where an issuer stands in a rollover."""

    PREPARED = "prepared"
    """In the trust bundle; signs nothing yet."""
    ACTIVE = "active"
    """Signs; the newest valid one is taken."""
    RETIRING = "retiring"
    """Still trusted, signs CRLs and OCSP answers; signs certificates only if nothing newer is valid."""
    RETIRED = "retired"
    """No longer in the trust bundle; its CRLs go on until its certificates have expired."""


@dataclass(frozen=True, slots=True)
class Names:
    """Subject alternative names, each in its canonical text: lower-case A-labels, RFC 5952 addresses."""

    dns: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.dns or self.ip or self.email or self.uri)

    @property
    def kinds(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """The names of each kind."""
        return (("dns", self.dns), ("ip", self.ip), ("email", self.email), ("uri", self.uri))

    @property
    def values(self) -> frozenset[tuple[str, str]]:
        """Every name as (kind, text)."""
        return frozenset((kind, value) for kind, values in self.kinds for value in values)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every name, in the order of the kinds."""
        return (*self.dns, *self.ip, *self.email, *self.uri)


@dataclass(frozen=True, slots=True)
class Issuer:
    """One key of the CA under one name."""

    id: str
    """``root-1``, ``intermediate-1``; part of its URLs."""
    role: Role
    generation: int
    key_id: str
    """Name of its private key in the keyring; empty: the CA has no key of it (imported)."""
    parent_id: str
    """Its own id for a root."""
    phase: Phase
    certificate_der: bytes
    """The certificate that leads to its own generation's root; cross-signed ones are rows of their own."""
    serial: str
    """Of that certificate, unique within ``parent_id``."""
    status: Status
    not_before: datetime
    not_after: datetime
    key_identifier: str
    """SubjectKeyIdentifier, hex."""
    crl_number: int
    """Of the newest CRL; never goes back."""
    status_version: int
    """Grows with every change of status of a certificate of this issuer, in the same transaction."""

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate, parsed."""
        return parse_der(self.certificate_der)


@dataclass(frozen=True, slots=True)
class Certificate:
    """One row of what the CA has signed or taken in."""

    id: int
    issuer_id: str
    serial: str
    der: bytes | None
    """None: taken from an ``openssl ca`` index that came without the certificate."""
    sha256: str
    """Of the DER, lower-case hex; empty without DER."""
    profile: str
    subject: str
    """RFC 4514."""
    names: Names
    not_before: datetime
    not_after: datetime
    issued_at: datetime
    requester: str
    """Who asked: ``operator``, ``acme:ACCOUNT``, ``est:...``."""
    status: Status
    revoked_at: datetime | None
    """When it was revoked or put on hold; written once."""
    reason: Reason | None
    key_id: str
    """Of the key the CA holds for it; empty: the requester has the key."""
    subject_issuer_id: str
    """The issuer this certificate is for; empty for all but certificates of issuers."""
    auto_renew: bool
    replaced_by: int | None
    """Row of its successor."""


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A certificate was revoked, held or released; in the order they happened."""

    id: int
    issuer_id: str
    serial: str
    at: datetime
    reason: Reason
    """REMOVE_FROM_CRL: released."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What a CRL says of one certificate."""

    serial: str
    revoked_at: datetime
    reason: Reason
    not_after: datetime


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What was done to the CA, by whom."""

    kind: str
    actor: str
    issuer_id: str = ""
    serial: str = ""
    detail: Mapping[str, str] = field(default_factory=dict)
    """Never a secret."""
