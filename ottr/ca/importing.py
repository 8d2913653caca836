# SPDX-License-Identifier: Apache-2.0
"""Taking in what was made elsewhere: issuers with their keys, certificates, the index of an ``openssl ca``."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca import held_keys, issuers
from ottr.ca.authority import Authority
from ottr.ca.bundle import Entity, check_pair, is_issued_by
from ottr.ca.certificates import (
    Entry,
    describe_leaf,
    find_certificate,
    get_certificate,
    insert_certificate,
    record_event,
)
from ottr.ca.keys import PrivateKey, judge_key, read_key_identifier
from ottr.ca.model import AuditEvent, Certificate, Issuer, Names, Phase, Reason, Role, Status
from ottr.ca.names import read_san
from ottr.ca.opensslca import IndexEntry
from ottr.ca.schema import certificate
from ottr.errors import NameRefused, RequestRefused

IMPORTED = "imported"
"""Profile and requester of what was taken in."""
FOREIGN = "foreign-"
"""Begins what stands in the place of the issuer of certificates that others have signed: it is not one of this CA."""


def import_certificate(
    authority: Authority, entity: Entity, *, profile: str = IMPORTED, auto_renew: bool = False
) -> Certificate:
    """Take in a certificate, and its key if there is one. Raises RequestRefused: known already, or not a pair.

    One that an issuer of this CA has signed gets that issuer, and from then on a status.
    """
    if entity.key is not None:
        check_pair(entity.certificate, entity.key, IMPORTED)
    if profile != IMPORTED:
        authority.settings.profile(profile)
    now = authority.clock()
    with authority.database.write() as connection:
        issuer_id = _find_issuer_id(connection, entity.certificate)
        _refuse_known(connection, issuer_id, entity.certificate)
        key_id = "" if entity.key is None else _hold(authority, connection, entity.key)
        entry = Entry(issuer_id, profile, IMPORTED, now, _read_names(entity.certificate), key_id, "", auto_renew)
        row = insert_certificate(connection, entity.certificate, entry)
        record_event(connection, now, AuditEvent("import", "operator", issuer_id, row.serial))
    return row


def import_issuer(authority: Authority, entity: Entity, phase: Phase) -> Issuer:
    """Take in the certificate of a CA, with its key unless it is only to be known. Roots come before what they signed.

    Raises RequestRefused: not a CA, its parent is not here, or known already.
    """
    leaf = entity.certificate
    _check_ca(leaf)
    if entity.key is not None:
        check_pair(leaf, entity.key, IMPORTED)
    with authority.database.write() as connection:
        known = issuers.list_issuers(connection)
        own = _describe_issuer(leaf, known, phase)
        _record_issuer(connection, own, leaf, authority.clock())
        if entity.key is not None:
            own = replace(own, key_id=f"{own.id}-{secrets.token_hex(4)}")
            authority.keyring.add(own.key_id, entity.key)
        issuers.insert_issuer(connection, own, leaf)
        record_event(connection, authority.clock(), AuditEvent("import", "operator", own.id, own.serial))
        return issuers.get_issuer(connection, own.id)


def _record_issuer(connection: sa.Connection, own: Issuer, leaf: x509.Certificate, now: datetime) -> None:
    """Its row: new, or that of its parent's index, which may know no more than a line."""
    known = find_certificate(connection, own.parent_id, own.serial)
    if known is None:
        entry = Entry(own.parent_id, IMPORTED, IMPORTED, now, subject_issuer_id=own.id)
        insert_certificate(connection, leaf, entry)
        return
    if known.der not in (None, leaf.public_bytes(Encoding.DER)):
        raise RequestRefused(f"{own.serial} of {own.parent_id} is another certificate here")
    values = {**describe_leaf(leaf), "subject_issuer_id": own.id}
    connection.execute(certificate.update().where(certificate.c.id == known.id).values(values))


@dataclass(frozen=True, slots=True)
class IndexResult:
    """What came of an index."""

    added: int
    known: int
    """Were in the table already, and were left as they are."""


def import_index(
    authority: Authority,
    issuer_id: str,
    entries: Iterable[IndexEntry],
    load_certificate: Callable[[IndexEntry], x509.Certificate | None],
) -> IndexResult:
    """Take in what an ``openssl ca`` has issued, with status, time and reason.

    Raises RequestRefused, and then nothing was added.
    """
    added = known = 0
    with authority.database.write() as connection:
        issuer = issuers.get_issuer(connection, issuer_id)
        for entry in entries:
            if find_certificate(connection, issuer.id, entry.serial) is not None:
                known += 1
                continue
            _import_entry(authority, connection, issuer, entry, load_certificate(entry))
            added += 1
        now = authority.clock()
        record_event(connection, now, AuditEvent("import", "operator", issuer.id, detail={"added": str(added)}))
    return IndexResult(added, known)


def _import_entry(
    authority: Authority, connection: sa.Connection, issuer: Issuer, entry: IndexEntry, leaf: x509.Certificate | None
) -> None:
    now = authority.clock()
    if leaf is None:
        insert = certificate.insert().returning(certificate.c.id)
        row = get_certificate(connection, connection.execute(insert, _describe_bare(issuer, entry, now)).scalar_one())
    elif format(leaf.serial_number, "x") != entry.serial or not is_issued_by(leaf, issuer.certificate):
        raise RequestRefused(f"the certificate of serial {entry.serial} is another one, or {issuer.id} did not sign it")
    else:
        row = insert_certificate(connection, leaf, Entry(issuer.id, IMPORTED, IMPORTED, now, _read_names(leaf)))
    if entry.revoked_at is not None and entry.reason not in (None, Reason.REMOVE_FROM_CRL):
        authority.revocation.change(connection, row, entry.reason, entry.revoked_at, IMPORTED)


def _describe_bare(issuer: Issuer, entry: IndexEntry, now: datetime) -> dict[str, object]:
    """The row of a certificate of which only the line is known: enough for CRLs and OCSP."""
    return {
        "issuer_id": issuer.id,
        "serial": entry.serial,
        "status": Status.VALID.value,
        "not_before": issuer.not_before,
        "not_after": entry.not_after,
        "issued_at": now,
        "profile": IMPORTED,
        "subject": entry.subject,
        "names": {},
        "requester": IMPORTED,
        "key_id": "",
        "subject_issuer_id": "",
        "auto_renew": False,
        "spki_sha256": "",
        "sha256": "",
        "der": None,
    }


def _describe_issuer(leaf: x509.Certificate, known: tuple[Issuer, ...], phase: Phase) -> Issuer:
    identifier = read_key_identifier(leaf).hex()
    if any(one.key_identifier == identifier for one in known):
        raise RequestRefused("this issuer is here already")
    own_root = is_issued_by(leaf, leaf)
    role = Role.ROOT if own_root else Role.INTERMEDIATE
    parents = [one for one in known if is_issued_by(leaf, one.certificate)]
    if not own_root and not parents:
        raise RequestRefused("the issuer of this CA is not here", hint="import its root first")
    generation = 1 + max((one.generation for one in known if one.role is role), default=0)
    issuer_id = f"{role.value}-{generation}"
    return Issuer(
        id=issuer_id,
        role=role,
        generation=generation,
        key_id="",
        parent_id=issuer_id if own_root else parents[0].id,
        phase=phase,
        certificate_der=b"",
        serial=format(leaf.serial_number, "x"),
        status=Status.VALID,
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        key_identifier=identifier,
        crl_number=0,
        status_version=0,
    )


def _check_ca(leaf: x509.Certificate) -> None:
    judge_key(leaf.public_key())
    try:
        basic = leaf.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        basic = x509.BasicConstraints(ca=False, path_length=None)
    if not basic.ca:
        raise RequestRefused("this is not the certificate of a CA")


def _find_issuer_id(connection: sa.Connection, leaf: x509.Certificate) -> str:
    for one in issuers.list_issuers(connection):
        if is_issued_by(leaf, one.certificate):
            return one.id
    return FOREIGN + hashlib.sha256(leaf.issuer.public_bytes()).hexdigest()[:16]


def _refuse_known(connection: sa.Connection, issuer_id: str, leaf: x509.Certificate) -> None:
    if find_certificate(connection, issuer_id, format(leaf.serial_number, "x")) is not None:
        raise RequestRefused(f"{leaf.serial_number:x} of {issuer_id} is here already")


def _hold(authority: Authority, connection: sa.Connection, key: PrivateKey) -> str:
    return held_keys.insert_key(connection, key, authority.passphrase, authority.clock())


def _read_names(leaf: x509.Certificate) -> Names:
    """The names of somebody else's certificate; those this CA would not sign are left out."""
    try:
        return read_san(leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, x509.UnsupportedGeneralNameType, NameRefused):
        return Names()
