# SPDX-License-Identifier: Apache-2.0
"""The tables of the CA's core. The ACME server and other parts have tables of their own beside them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

VERSION = 1
"""Of these tables; a database of another version is refused."""


class UtcSeconds(sa.types.TypeDecorator[datetime]):
    """Aware UTC as whole seconds since 1970: certificates, CRLs and OCSP know no fractions."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:
        """Write seconds."""
        del dialect
        return None if value is None else int(value.timestamp())

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:
        """Read them back."""
        del dialect
        return None if value is None else datetime.fromtimestamp(value, UTC)


_Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")

metadata = sa.MetaData()

part = sa.Table(
    "part",
    metadata,
    sa.Column("name", sa.String(40), primary_key=True),
    sa.Column("version", sa.Integer, nullable=False),
)

issuer = sa.Table(
    "issuer",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("key_id", sa.String(64), nullable=False),
    sa.Column("parent_id", sa.String(64), nullable=False),
    sa.Column("phase", sa.String(16), nullable=False),
    sa.Column("serial", sa.String(40), nullable=False),
    sa.Column("key_identifier", sa.String(128), nullable=False),
    sa.Column("spki_sha256", sa.String(64), nullable=False, unique=True),
    sa.Column("crl_number", sa.BigInteger, nullable=False),
    sa.Column("status_version", sa.BigInteger, nullable=False),
    sa.Index("issuer_generation", "role", "generation", unique=True),
)

certificate = sa.Table(
    "certificate",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("issuer_id", sa.String(64), nullable=False),
    sa.Column("serial", sa.String(40), nullable=False),
    sa.Column("status", sa.String(8), nullable=False),
    sa.Column("revoked_at", UtcSeconds),
    sa.Column("reason", sa.String(24)),
    sa.Column("not_before", UtcSeconds, nullable=False),
    sa.Column("not_after", UtcSeconds, nullable=False),
    sa.Column("issued_at", UtcSeconds, nullable=False),
    sa.Column("profile", sa.String(40), nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("names", sa.JSON, nullable=False),
    sa.Column("requester", sa.Text, nullable=False),
    sa.Column("key_id", sa.String(64), nullable=False),
    sa.Column("subject_issuer_id", sa.String(64), nullable=False),
    sa.Column("auto_renew", sa.Boolean, nullable=False),
    sa.Column("replaced_by", _Id),
    sa.Column("spki_sha256", sa.String(64), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("der", sa.LargeBinary),
    # Serial first: a million random serials are found with and without their issuer by one index.
    sa.Index("certificate_serial", "serial", "issuer_id", unique=True),
)
_revoked = certificate.c.revoked_at.is_not(None)
_kept = certificate.c.auto_renew
_held = certificate.c.key_id != ""
_issuers = certificate.c.subject_issuer_id != ""
_signers = certificate.c.profile == sa.literal_column("'ocsp'")
sa.Index(
    "certificate_revoked",
    *(certificate.c[name] for name in ("issuer_id", "not_after", "serial", "revoked_at", "reason")),
    sqlite_where=_revoked,
    postgresql_where=_revoked,
)
sa.Index("certificate_key", certificate.c.spki_sha256)
sa.Index("certificate_kept", certificate.c.not_after, sqlite_where=_kept, postgresql_where=_kept)
sa.Index("certificate_held", certificate.c.key_id, sqlite_where=_held, postgresql_where=_held)
sa.Index("certificate_issuers", certificate.c.subject_issuer_id, sqlite_where=_issuers, postgresql_where=_issuers)
sa.Index("certificate_ocsp", certificate.c.issuer_id, sqlite_where=_signers, postgresql_where=_signers)

status_change = sa.Table(
    "status_change",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("issuer_id", sa.String(64), nullable=False),
    sa.Column("serial", sa.String(40), nullable=False),
    sa.Column("at", UtcSeconds, nullable=False),
    sa.Column("reason", sa.String(24), nullable=False),  # remove_from_crl: released
    sa.Index("status_change_issuer", "issuer_id", "id"),
)

held_key = sa.Table(
    "held_key",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("algorithm", sa.String(16), nullable=False),
    sa.Column("envelope", sa.Text, nullable=False),  # sealed PKCS#8, see envelope.py
    sa.Column("public_key_der", sa.LargeBinary, nullable=False),
    sa.Column("exposed", sa.Boolean, nullable=False),  # its public part is in the JWKS
    sa.Column("created_at", UtcSeconds, nullable=False),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", _Id, primary_key=True, autoincrement=True),
    sa.Column("at", UtcSeconds, nullable=False),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("issuer_id", sa.String(64), nullable=False),
    sa.Column("serial", sa.String(40), nullable=False),
    sa.Column("detail", sa.JSON, nullable=False),
)
