# SPDX-License-Identifier: Apache-2.0
"""From what is revoked to a signed CRL (RFC 5280 section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.model import Issuer, Reason
from ottr.ca.signer import Signer


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry."""

    serial: str
    at: datetime
    reason: Reason
    """REMOVE_FROM_CRL: it was on hold, and is so no more; in delta CRLs only."""


@dataclass(frozen=True, slots=True)
class CrlContent:
    """Everything a CRL says."""

    number: int
    this_update: datetime
    next_update: datetime
    entries: Iterable[Listed]
    base_number: int | None = None
    """Of the complete CRL that a delta CRL adds to; None: this is a complete one."""
    issuing_point: Sequence[str] = ()
    """Its addresses, as certificates have them."""
    delta_url: str = ""
    """Of the delta CRL, in complete ones."""


def build_crl(content: CrlContent, issuer: Issuer, signer: Signer) -> bytes:
    """Build and sign; return DER."""
    is_delta = content.base_number is not None
    builder = x509.CertificateRevocationListBuilder(
        issuer_name=issuer.certificate.subject,
        last_update=content.this_update.replace(tzinfo=None),
        next_update=content.next_update.replace(tzinfo=None),
        revoked_certificates=[
            _build_entry(one) for one in content.entries if is_delta or one.reason is not Reason.REMOVE_FROM_CRL
        ],
    )
    for extension, critical in _build_extensions(content, issuer):
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer.key, signer.digest).public_bytes(Encoding.DER)


def _build_entry(one: Listed) -> x509.RevokedCertificate:
    """ "Unspecified" is said by saying nothing (RFC 5280 section 5.3.1)."""
    extensions = () if one.reason is Reason.UNSPECIFIED else (_REASONS[one.reason],)
    builder = x509.RevokedCertificateBuilder(int(one.serial, 16), one.at.replace(tzinfo=None), list(extensions))
    return builder.build()


_REASONS = {reason: x509.Extension(x509.CRLReason.oid, False, x509.CRLReason(reason.flag)) for reason in Reason}


def _build_extensions(content: CrlContent, issuer: Issuer) -> list[tuple[x509.ExtensionType, bool]]:
    key_identifier = bytes.fromhex(issuer.key_identifier)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.AuthorityKeyIdentifier(key_identifier, None, None), False),
        (x509.CRLNumber(content.number), False),
    ]
    if content.base_number is not None:
        extensions.append((x509.DeltaCRLIndicator(content.base_number), True))
    if content.issuing_point:
        names = [x509.UniformResourceIdentifier(url) for url in content.issuing_point]
        extensions.append((_build_issuing_point(names), True))
    if content.delta_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(content.delta_url)], None, None, None)
        extensions.append((x509.FreshestCRL([point]), False))
    return extensions


def _build_issuing_point(names: Sequence[x509.GeneralName]) -> x509.IssuingDistributionPoint:
    """All certificates of the issuer, for all reasons."""
    return x509.IssuingDistributionPoint(
        full_name=names,
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
