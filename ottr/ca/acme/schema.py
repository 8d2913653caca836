# SPDX-License-Identifier: Apache-2.0
"""Tables of the ACME server, beside those of the CA's core."""

from __future__ import annotations

import sqlalchemy as sa

from ottr.ca.schema import UtcSeconds

VERSION = 1

metadata = sa.MetaData()

account = sa.Table(
    "acme_account",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("jwk", sa.Text, nullable=False),  # canonical, public
    sa.Column("thumbprint", sa.String(64), nullable=False, unique=True),
    sa.Column("contact", sa.JSON, nullable=False),
    sa.Column("terms_agreed", sa.Boolean, nullable=False),
    sa.Column("eab_kid", sa.String(64), nullable=False),
    sa.Column("address", sa.String(64), nullable=False),
    sa.Column("created_at", UtcSeconds, nullable=False),
    sa.Index("acme_account_address", "address", "created_at"),
)

binding_key = sa.Table(
    "acme_binding_key",
    metadata,
    sa.Column("kid", sa.String(64), primary_key=True),
    sa.Column("envelope", sa.Text, nullable=False),  # the sealed MAC key
    sa.Column("rules", sa.JSON, nullable=False),  # names its account may have
    sa.Column("account_id", sa.String(32), nullable=False),  # empty: not used yet
    sa.Column("created_at", UtcSeconds, nullable=False),
)

order = sa.Table(
    "acme_order",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account_id", sa.String(32), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # pending (also when ready), valid, invalid
    sa.Column("identifiers", sa.JSON, nullable=False),  # [[type, value], ...]
    sa.Column("names_hash", sa.String(64), nullable=False),  # of identifiers, whatever their order
    sa.Column("authorizations", sa.JSON, nullable=False),  # ids
    sa.Column("profile", sa.String(40), nullable=False),
    sa.Column("not_before", UtcSeconds),
    sa.Column("not_after", UtcSeconds),
    sa.Column("expires", UtcSeconds, nullable=False),
    sa.Column("error", sa.JSON),
    sa.Column("certificate", sa.String(120), nullable=False),  # ISSUER/SERIAL, empty before
    sa.Column("replaces", sa.String(120), nullable=False),
    sa.Column("created_at", UtcSeconds, nullable=False),
    sa.Index("acme_order_account", "account_id", "created_at"),
    sa.Index("acme_order_names", "names_hash", "created_at"),
)
_replacing = order.c.replaces != ""
sa.Index("acme_order_replaces", order.c.replaces, sqlite_where=_replacing, postgresql_where=_replacing)
_issued = order.c.certificate != ""
sa.Index("acme_order_certificate", order.c.certificate, sqlite_where=_issued, postgresql_where=_issued)

authorization = sa.Table(
    "acme_authorization",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("account_id", sa.String(32), nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),  # dns, ip
    sa.Column("value", sa.Text, nullable=False),  # without *.
    sa.Column("wildcard", sa.Boolean, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("token", sa.String(64), nullable=False),  # of every challenge of it
    sa.Column("challenges", sa.JSON, nullable=False),  # type -> status, validated, error
    sa.Column("expires", UtcSeconds, nullable=False),
    sa.Column("failed_at", UtcSeconds),
    sa.Index("acme_authorization_name", "account_id", "value"),
)
_running = authorization.c.status == "processing"
sa.Index("acme_authorization_running", authorization.c.status, sqlite_where=_running, postgresql_where=_running)
