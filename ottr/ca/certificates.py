# SPDX-License-Identifier: Apache-2.0
"""The rows of certificates: recorded once, looked up, listed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.keys import hash_public_key
from ottr.ca.model import AuditEvent, Certificate, Names, Reason, Revoked, Status, StatusChange
from ottr.ca.schema import certificate, event, status_change
from ottr.errors import UnknownCertificate
from ottr.statement import Statement, insert

_PAGED = {"yield_per": 1000}
"""Of one statement; told to the connection, it would hold for all that follow, which PostgreSQL refuses for INSERT."""
# Made once: building a statement costs more than running it.
_INSERT = insert(certificate, "id")
_INSERT_EVENT = insert(event, "id")
_COLUMNS = tuple(certificate.c.keys())
_FIND = Statement(
    certificate.select().where(
        certificate.c.serial == sa.bindparam("one_serial"), certificate.c.issuer_id == sa.bindparam("one_issuer")
    )
)
_COMPROMISED = Statement(
    sa.select(certificate.c.id).where(
        certificate.c.spki_sha256 == sa.bindparam("spki"),
        certificate.c.revoked_at.is_not(None),
        certificate.c.reason == Reason.KEY_COMPROMISE.value,
    )
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is recorded of a certificate beside what it says itself."""

    issuer_id: str
    profile: str
    requester: str
    issued_at: datetime
    names: Names = field(default_factory=Names)
    key_id: str = ""
    subject_issuer_id: str = ""
    auto_renew: bool = False


def insert_certificate(connection: sa.Connection, leaf: x509.Certificate, entry: Entry) -> Certificate:
    """Record a certificate. Raises StoreError when the issuer has used the serial already."""
    return insert_described(connection, describe_leaf(leaf), entry)


def insert_described(connection: sa.Connection, described: Mapping[str, Any], entry: Entry) -> Certificate:
    """The same for who knows already what it says."""
    row: dict[str, Any] = {
        **described,
        "issuer_id": entry.issuer_id,
        "status": Status.VALID.value,
        "issued_at": entry.issued_at,
        "profile": entry.profile,
        "names": {kind: list(values) for kind, values in entry.names.kinds if values},
        "requester": entry.requester,
        "key_id": entry.key_id,
        "subject_issuer_id": entry.subject_issuer_id,
        "auto_renew": entry.auto_renew,
        "revoked_at": None,
        "reason": None,
        "replaced_by": None,
    }
    [[row_id]] = _INSERT.fetch(connection, row)
    return build_certificate_row({"id": row_id, **row})


def describe_leaf(leaf: x509.Certificate) -> dict[str, Any]:
    """What a row says of the certificate that the certificate says itself."""
    return {**describe_content(leaf), **describe_encoding(leaf.public_bytes(Encoding.DER))}


def describe_content(leaf: x509.Certificate) -> dict[str, Any]:
    """The part of it that no signature changes."""
    return {
        "serial": format(leaf.serial_number, "x"),
        "subject": leaf.subject.rfc4514_string(),
        "not_before": leaf.not_valid_before_utc,
        "not_after": leaf.not_valid_after_utc,
        "spki_sha256": hash_public_key(leaf.public_key()),  # type: ignore[arg-type]
    }


def describe_encoding(der: bytes) -> dict[str, Any]:
    """The rest."""
    return {"sha256": hashlib.sha256(der).hexdigest(), "der": der}


def find_certificate(connection: sa.Connection, issuer_id: str, serial: str) -> Certificate | None:
    """Return the certificate of an issuer and serial (hex), None when the issuer never used it."""
    row = _FIND.fetch_one(connection, {"one_serial": serial, "one_issuer": issuer_id})
    return None if row is None else build_certificate_row(dict(zip(_COLUMNS, row, strict=True)))


def get_certificate(connection: sa.Connection, certificate_id: int) -> Certificate:
    """Return the certificate of a row."""
    row = connection.execute(certificate.select().where(certificate.c.id == certificate_id)).one()
    return build_certificate_row(row._mapping)


def find_by_serial(connection: sa.Connection, serial: str) -> tuple[Certificate, ...]:
    """The certificates of a serial, one for each issuer that used it."""
    query = certificate.select().where(certificate.c.serial == serial).order_by(certificate.c.id)
    return tuple(build_certificate_row(row._mapping) for row in connection.execute(query))


def list_certificates(
    connection: sa.Connection, *where: sa.ColumnElement[bool], newest_first: bool = False
) -> Iterator[Certificate]:
    """Certificates by conditions over ``schema.certificate``, a page at a time."""
    order = certificate.c.id.desc() if newest_first else certificate.c.id
    query = certificate.select().where(*where).order_by(order)
    with connection.execute(query, execution_options=_PAGED) as rows:  # closed also for who reads no further
        for row in rows:
            yield build_certificate_row(row._mapping)


def list_revoked(connection: sa.Connection, issuer_id: str, since: datetime) -> Iterator[Revoked]:
    """What a CRL of an issuer lists: revoked and held ones that had not expired at ``since``.

    For RFC 5280 section 3.3, a certificate stays on one CRL after its expiry, ``since`` is the thisUpdate of the
    CRL before.
    """
    c = certificate.c
    query = sa.select(c.serial, c.revoked_at, c.reason, c.not_after).where(
        c.issuer_id == issuer_id, c.not_after >= since, c.revoked_at.is_not(None)
    )
    with connection.execute(query, execution_options=_PAGED) as rows:
        for serial, revoked_at, reason, not_after in rows:
            yield Revoked(serial, revoked_at, Reason(reason), not_after)


def list_changes(connection: sa.Connection, issuer_id: str, after: int = 0) -> tuple[StatusChange, ...]:
    """Changes of status with ids greater than ``after``, in their order: what a delta CRL is made of."""
    c = status_change.c
    query = status_change.select().where(c.issuer_id == issuer_id, c.id > after).order_by(c.id)
    return tuple(
        StatusChange(row.id, row.issuer_id, row.serial, row.at, Reason(row.reason)) for row in connection.execute(query)
    )


def find_last_change(connection: sa.Connection, issuer_id: str) -> int:
    """Id of the last change of an issuer's certificates; 0 without."""
    c = status_change.c
    return int(connection.execute(sa.select(sa.func.max(c.id)).where(c.issuer_id == issuer_id)).scalar() or 0)


def is_compromised(connection: sa.Connection, spki_sha256: str) -> bool:
    """Whether a certificate of a key was revoked because the key is known to others."""
    return _COMPROMISED.fetch_one(connection, {"spki": spki_sha256}) is not None


def record_event(connection: sa.Connection, at: datetime, audit: AuditEvent) -> None:
    """Write down what is done, in the transaction that does it."""
    values = {"at": at, "kind": audit.kind, "actor": audit.actor, "issuer_id": audit.issuer_id}
    _INSERT_EVENT.fetch(connection, {**values, "serial": audit.serial, "detail": dict(audit.detail)})


def refuse_unknown(serial: str) -> UnknownCertificate:
    """The error for a serial the CA does not have."""
    return UnknownCertificate(f"the CA has no certificate with the serial {serial}", hint="`ottr ca list` shows them")


def build_certificate_row(row: sa.RowMapping | dict[str, Any]) -> Certificate:
    """A row as a value."""
    return Certificate(
        id=row["id"],
        issuer_id=row["issuer_id"],
        serial=row["serial"],
        der=row["der"],
        sha256=row["sha256"],
        profile=row["profile"],
        subject=row["subject"],
        names=Names(**{kind: tuple(values) for kind, values in row["names"].items()}),
        not_before=row["not_before"],
        not_after=row["not_after"],
        issued_at=row["issued_at"],
        requester=row["requester"],
        status=Status(row["status"]),
        revoked_at=row["revoked_at"],
        reason=None if row["reason"] is None else Reason(row["reason"]),
        key_id=row["key_id"],
        subject_issuer_id=row["subject_issuer_id"],
        auto_renew=row["auto_renew"],
        replaced_by=row["replaced_by"],
    )
