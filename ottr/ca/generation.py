# SPDX-License-Identifier: Apache-2.0
"""Generations of issuers: a root and its intermediate, made at first and at each rollover."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType

import sqlalchemy as sa
from cryptography import x509
from cryptography.x509.oid import NameOID

from ottr.ca import issuers
from ottr.ca.authority import Authority, parse_row
from ottr.ca.certificates import Entry
from ottr.ca.issuance import SELF
from ottr.ca.keys import PublicKey
from ottr.ca.model import Issuer, KeyAlgorithm, Names, Phase, Role, Status
from ottr.ca.profiles import CROSS, ROOT, SUB_CA, Profile
from ottr.ca.template import Content

_TITLES = MappingProxyType({Role.ROOT: "Root CA", Role.INTERMEDIATE: "Intermediate CA"})


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of issuer is made."""

    algorithm: KeyAlgorithm
    phase: Phase


def make_generation(authority: Authority, connection: sa.Connection, plan: Plan) -> tuple[Issuer, Issuer]:
    """Make a root and an intermediate with new keys; return both. Raises what issuing and the keyring raise."""
    root = _make_issuer(authority, connection, Role.ROOT, plan, None)
    return root, make_intermediate(authority, connection, plan, root)


def make_intermediate(authority: Authority, connection: sa.Connection, plan: Plan, root: Issuer) -> Issuer:
    """Make another intermediate under a root."""
    return _make_issuer(authority, connection, Role.INTERMEDIATE, plan, root)


def cross_sign(authority: Authority, connection: sa.Connection, root: Issuer, by: Issuer) -> x509.Certificate:
    """Certify a new root by an older one: who trusts only that can follow (RFC 4210 section 4.4, "new with old")."""
    certificate = root.certificate
    subject = Subject(certificate.subject, certificate.public_key())  # type: ignore[arg-type]  # our own root's
    return certify_issuer(authority, connection, root, subject, by, authority.settings.profile(CROSS))


def _make_issuer(
    authority: Authority, connection: sa.Connection, role: Role, plan: Plan, root: Issuer | None
) -> Issuer:
    settings = authority.settings
    now = authority.clock().replace(microsecond=0)
    generation = 1 + max((one.generation for one in issuers.list_issuers(connection) if one.role is role), default=0)
    issuer_id = f"{role.value}-{generation}"
    profile = settings.profile(ROOT if root is None else SUB_CA)
    # Not the issuer's id alone: a run that died here leaves its key behind, and the next one makes another.
    key_id = f"{issuer_id}-{secrets.token_hex(4)}"
    public_key = authority.keyring.create(key_id, plan.algorithm).public_key
    own = Issuer(
        id=issuer_id,
        role=role,
        generation=generation,
        key_id=key_id,
        parent_id=issuer_id if root is None else root.id,
        phase=plan.phase,
        certificate_der=b"",
        serial="",
        status=Status.VALID,
        not_before=now - timedelta(seconds=settings.backdate_s),
        not_after=now + timedelta(seconds=profile.lifetime_s),
        key_identifier=x509.SubjectKeyIdentifier.from_public_key(public_key).digest.hex(),
        crl_number=0,
        status_version=0,
    )
    subject = Subject(_build_name(settings.organization, f"{_TITLES[role]} {generation}"), public_key)
    leaf = certify_issuer(authority, connection, own, subject, root or own, profile)
    issuers.insert_issuer(connection, own, leaf)
    return issuers.get_issuer(connection, issuer_id)


@dataclass(frozen=True, slots=True)
class Subject:
    """Name and key of an issuer."""

    name: x509.Name
    public_key: PublicKey


def certify_issuer(
    authority: Authority, connection: sa.Connection, own: Issuer, subject: Subject, parent: Issuer, profile: Profile
) -> x509.Certificate:
    """Issue a certificate for an issuer's key by its parent, by itself, or, cross-signed, by another root."""
    now = authority.clock().replace(microsecond=0)
    certificate = None if parent.id == own.id else parent.certificate
    constraints = authority.settings.constraints.build() if profile.name == SUB_CA else None
    content = Content(
        profile=profile,
        public_key=subject.public_key,
        subject=subject.name,
        names=Names(),
        issuer=subject.name if certificate is None else certificate.subject,
        issuer_key_identifier=bytes.fromhex(parent.key_identifier),
        serial=x509.random_serial_number(),
        not_before=max(own.not_before, parent.not_before),
        not_after=min(now + timedelta(seconds=profile.lifetime_s), own.not_after, parent.not_after),
        pointers=authority.issuance.pointers(parent.id),
        constraints=constraints,
    )
    entry = Entry(parent.id, profile.name, SELF, now, subject_issuer_id=own.id)
    prepared = authority.issuance.check(content, parent, certificate, entry)
    return parse_row(authority.sign(connection, prepared))


def _build_name(organization: str, title: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{organization} {title}"),
        ]
    )
