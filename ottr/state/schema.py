# SPDX-License-Identifier: Apache-2.0
"""The tables. ``migrations/`` makes them; a test keeps both the same."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

HEAD = "0003"
"""Revision of ``migrations/`` that these tables are."""


_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_installation_id() -> str:
    """Four characters that tell the labels of this database from those of others."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(4))


class UtcText(sa.types.TypeDecorator[datetime]):
    """Aware UTC as ISO 8601 text of one width: sorts by time and reads the same in every database."""

    impl = sa.String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> str | None:
        """Write microseconds and a Z."""
        del dialect
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:
        """Read it back."""
        del dialect
        return None if value is None else datetime.fromisoformat(value)


metadata = sa.MetaData()

installation = sa.Table(
    "installation",
    metadata,
    sa.Column("id", sa.String(8), primary_key=True),
)

rotation = sa.Table(
    "rotation",
    metadata,
    sa.Column("id", sa.String(16), primary_key=True),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("label", sa.String(31), nullable=False, unique=True),
    sa.Column("reason", sa.String(32), nullable=False),
    sa.Column("driver", sa.String(40), nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("dns_names", sa.JSON, nullable=False),
    sa.Column("key_type", sa.String(16), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),  # open, rotated, abandoned
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("order_url", sa.Text, nullable=False),
    sa.Column("cleaned", sa.Boolean, nullable=False),  # nothing of it is on the device any more
    sa.Column("started_at", UtcText, nullable=False),
    sa.Column("finished_at", UtcText),
    sa.Index("rotation_device", "device", "state"),
    sa.Index("rotation_finished", "finished_at"),
)

step = sa.Table(
    "step",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("rotation_id", sa.String(16), sa.ForeignKey("rotation.id"), nullable=False),
    sa.Column("step", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # started, done, failed
    sa.Column("at", UtcText, nullable=False),
    sa.Column("value", sa.JSON),
    sa.Column("error_kind", sa.String(40)),
    sa.Column("error_message", sa.Text),
    sa.Column("error_hint", sa.Text),
    sa.Index("step_rotation", "rotation_id"),
)

txt_record = sa.Table(
    "txt_record",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("rotation_id", sa.String(16), sa.ForeignKey("rotation.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("presented_at", UtcText, nullable=False),
    sa.Column("removed_at", UtcText),
    sa.Index("txt_record_rotation", "rotation_id"),
)

certificate = sa.Table(
    "certificate",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("rotation_id", sa.String(16), sa.ForeignKey("rotation.id")),  # none: found on the device
    sa.Column("ca", sa.Text, nullable=False),
    sa.Column("leaf_pem", sa.Text, nullable=False),
    sa.Column("chain_pem", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("serial", sa.String(64), nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("dns_names", sa.JSON, nullable=False),
    sa.Column("key_type", sa.String(16), nullable=False),
    sa.Column("not_before", UtcText, nullable=False),
    sa.Column("not_after", UtcText, nullable=False),
    sa.Column("issued_at", UtcText),
    sa.Column("installed_at", UtcText),
    sa.Column("bound_at", UtcText),
    sa.Column("served_at", UtcText),
    sa.Column("superseded_at", UtcText),
    sa.Column("revoked_at", UtcText),
    sa.Index("certificate_device", "device"),
    sa.Index("certificate_rotation", "rotation_id"),
)

schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("failure_kind", sa.String(40), nullable=False),
    sa.Column("failure", sa.Text, nullable=False),
    sa.Column("quarantined_at", UtcText),
    sa.Column("not_before", UtcText),  # no run tries before
    sa.Column("renewal_sha256", sa.String(64)),  # the certificate the window is for
    sa.Column("renewal_start", UtcText),
    sa.Column("renewal_end", UtcText),
    sa.Column("renewal_at", UtcText),  # the chosen instant (RFC 9773 section 4.2)
    sa.Column("renewal_check_at", UtcText),
)

observation = sa.Table(
    "observation",
    metadata,
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("at", UtcText, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),  # empty: nothing was served
    sa.Column("problem", sa.Text, nullable=False),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("machine", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("process_started", sa.String(24), nullable=False),
    sa.Column("host_name", sa.Text, nullable=False),
    sa.Column("taken_at", UtcText, nullable=False),
    sa.Column("expires_at", UtcText, nullable=False),
)

device = sa.Table(
    "device",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("position", sa.Integer, nullable=False),  # in the order of the inventory
    sa.Column("group_names", sa.JSON, nullable=False),
    sa.Column("variables", sa.JSON, nullable=False),
)
