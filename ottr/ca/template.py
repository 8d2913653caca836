# SPDX-License-Identifier: Apache-2.0
"""From a profile and a request to the content of a certificate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from ottr.ca.keys import PublicKey, judge_key
from ottr.ca.model import KeyAlgorithm, Names
from ottr.ca.names import write_san
from ottr.ca.profiles import Profile
from ottr.errors import RequestRefused

NO_REV_AVAIL = x509.ObjectIdentifier("2.5.29.56")
_DER_NULL = b"\x05\x00"
LONGEST_COMMON_NAME = 64


@dataclass(frozen=True, slots=True)
class Pointers:
    """Addresses about an issuer that its certificates carry; empty ones are left out."""

    issuer_url: str = ""
    crl_url: str = ""
    ocsp_url: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """Everything a certificate says."""

    profile: Profile
    public_key: PublicKey
    subject: x509.Name
    names: Names
    issuer: x509.Name
    issuer_key_identifier: bytes
    serial: int
    not_before: datetime
    not_after: datetime
    pointers: Pointers = Pointers()
    constraints: x509.NameConstraints | None = None


def build_certificate(content: Content) -> x509.CertificateBuilder:
    """Return what only needs a signature."""
    # RFC 5280 sections 4.2.1.13 and 4.2.2.1; a certificate of its own issuer needs no addresses
    pointers = None if content.subject == content.issuer else content.pointers
    kind, above = judge_key(content.public_key), content.issuer_key_identifier
    builder = (
        _build_frame(content.profile, kind, content.issuer, above, pointers)
        .subject_name(content.subject)
        .public_key(content.public_key)
        .serial_number(content.serial)
        .not_valid_before(content.not_before)
        .not_valid_after(content.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(content.public_key), critical=False)
    )
    if content.names:
        builder = builder.add_extension(write_san(content.names), critical=not content.subject.rdns)
    if content.constraints:
        builder = builder.add_extension(content.constraints, critical=True)
    return builder


@lru_cache(maxsize=64)
def _build_frame(
    profile: Profile, kind: KeyAlgorithm, issuer: x509.Name, issuer_key_identifier: bytes, pointers: Pointers | None
) -> x509.CertificateBuilder:
    """What is the same in all certificates of a profile and an issuer for keys of a kind, its extensions as DER.

    Names that are equal may be encoded in two ways, but no two issuers have the same key identifier.
    """
    builder = x509.CertificateBuilder().issuer_name(issuer)
    for extension, critical in (
        (x509.BasicConstraints(profile.is_ca, profile.path_length), True),
        (profile.key_usage(kind), True),
        (x509.AuthorityKeyIdentifier(issuer_key_identifier, None, None), False),
        *_build_purposes(profile),
        *(_build_pointers(profile, pointers) if pointers else ()),
    ):
        encoded = x509.UnrecognizedExtension(extension.oid, extension.public_bytes())
        builder = builder.add_extension(encoded, critical)
    return builder


def _build_purposes(profile: Profile) -> Iterator[tuple[x509.ExtensionType, bool]]:
    if profile.usages:
        # OCSPSigning alone, and critical: such a certificate is good for nothing else.
        yield x509.ExtendedKeyUsage([usage.oid for usage in profile.usages]), profile.nocheck
    if profile.nocheck:
        yield x509.OCSPNoCheck(), False


def _build_pointers(profile: Profile, pointers: Pointers) -> Iterator[tuple[x509.ExtensionType, bool]]:
    access = [(AuthorityInformationAccessOID.CA_ISSUERS, pointers.issuer_url)]
    if profile.points_to_status:
        access.insert(0, (AuthorityInformationAccessOID.OCSP, pointers.ocsp_url))
    described = [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in access if url]
    if described:
        yield x509.AuthorityInformationAccess(described), False
    if profile.points_to_status and pointers.crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(pointers.crl_url)], None, None, None)
        yield x509.CRLDistributionPoints([point]), False
    if not profile.points_to_status and not profile.nocheck:
        yield x509.UnrecognizedExtension(NO_REV_AVAIL, _DER_NULL), False


def build_subject(profile: Profile, names: Names, asked: x509.Name, common_name: str, *, whole: bool) -> x509.Name:
    """What of an asked subject the profile takes over.

    For servers the common name is one of the names, or absent when the first is too long for it. Raises RequestRefused.
    """
    attributes = [part for part in asked if whole and part.oid in profile.attributes]
    if profile.subject_is_a_name:
        texts = (common_name, *names.texts)
        common_name = next((text for text in texts if text in names.texts and len(text) <= LONGEST_COMMON_NAME), "")
    if len(common_name.encode()) > LONGEST_COMMON_NAME:
        raise RequestRefused(f"the common name is longer than {LONGEST_COMMON_NAME} bytes")
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    if find_unprintable(attributes):
        raise RequestRefused("the subject has characters that cannot be printed")
    return x509.Name(attributes)


def find_unprintable(subject: Iterable[x509.NameAttribute[Any]]) -> bool:
    """Whether there is a NUL, a line feed or the like: others would read a part of it, or another text."""
    return not all(str(part.value).isprintable() for part in subject)
