# SPDX-License-Identifier: Apache-2.0
"""From a profile and a request to the content of a certificate."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from ottr.ca.keys import PublicKey, judge_key
from ottr.ca.model import Names
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
    builder = (
        x509.CertificateBuilder()
        .subject_name(content.subject)
        .issuer_name(content.issuer)
        .public_key(content.public_key)
        .serial_number(content.serial)
        .not_valid_before(content.not_before)
        .not_valid_after(content.not_after)
    )
    for extension, critical in _build_extensions(content):
        builder = builder.add_extension(extension, critical)
    return builder


def _build_extensions(content: Content) -> list[tuple[x509.ExtensionType, bool]]:
    profile = content.profile
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(content.public_key)
    issuer_identifier = x509.AuthorityKeyIdentifier(content.issuer_key_identifier, None, None)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.BasicConstraints(profile.is_ca, profile.path_length), True),
        (profile.key_usage(judge_key(content.public_key)), True),
        (key_identifier, False),
        (issuer_identifier, False),
    ]
    if profile.usages:
        # OCSPSigning alone, and critical: such a certificate is good for nothing else.
        extensions.append((x509.ExtendedKeyUsage([usage.oid for usage in profile.usages]), profile.nocheck))
    if content.names:
        extensions.append((write_san(content.names), not list(content.subject)))
    if content.constraints:
        extensions.append((content.constraints, True))
    if profile.nocheck:
        extensions.append((x509.OCSPNoCheck(), False))
    return extensions + _build_pointers(content)


def _build_pointers(content: Content) -> list[tuple[x509.ExtensionType, bool]]:
    """RFC 5280 sections 4.2.1.13 and 4.2.2.1; a certificate of its own issuer needs none."""
    if content.subject == content.issuer:
        return []
    pointers, extensions = content.pointers, list[tuple[x509.ExtensionType, bool]]()
    access = [(AuthorityInformationAccessOID.CA_ISSUERS, pointers.issuer_url)]
    if content.profile.points_to_status:
        access.insert(0, (AuthorityInformationAccessOID.OCSP, pointers.ocsp_url))
    described = [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in access if url]
    if described:
        extensions.append((x509.AuthorityInformationAccess(described), False))
    if content.profile.points_to_status and pointers.crl_url:
        point = x509.DistributionPoint([x509.UniformResourceIdentifier(pointers.crl_url)], None, None, None)
        extensions.append((x509.CRLDistributionPoints([point]), False))
    if not content.profile.points_to_status and not content.profile.nocheck:
        extensions.append((x509.UnrecognizedExtension(NO_REV_AVAIL, _DER_NULL), False))
    return extensions


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
