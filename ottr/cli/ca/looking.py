# SPDX-License-Identifier: Apache-2.0
"""``ottr ca list`` and ``show``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import sqlalchemy as sa
import typer

from ottr.ca.authority import Authority, parse_row
from ottr.ca.certificates import list_certificates
from ottr.ca.exporting import export_pem
from ottr.ca.model import Certificate, Status
from ottr.ca.schema import certificate
from ottr.cli import screen
from ottr.cli.ca.place import (
    IssuerId,
    Place,
    Serial,
    describe_certificate,
    describe_issuer,
    find_row,
    format_issuers,
    format_time,
)
from ottr.cli.options import Form
from ottr.cli.table import format_table
from ottr.report import SCHEMA_VERSION, ExitStatus

_HEAD = ("SERIAL", "STATUS", "REASON", "UNTIL", "PROFILE", "TYPE", "NAMES")


def list_(
    place: Place,
    status: Annotated[Status | None, typer.Option("--status", help="Only valid, held or revoked ones.")] = None,
    profile: Annotated[str, typer.Option("--profile", help="Only of this profile.")] = "",
    name: Annotated[str, typer.Option("--name", help="Only those with a name or subject that has this in it.")] = "",
    expired: Annotated[bool, typer.Option("--expired", help="Expired ones too.")] = False,
    issuers: Annotated[bool, typer.Option("--issuers", help="The issuers instead.")] = False,
    limit: Annotated[int, typer.Option("--limit", min=1, help="The newest so many.")] = 1000,
) -> int:
    """List certificates, the newest first."""
    with place.open() as authority:
        if issuers:
            return _list_issuers(place, authority)
        where = _select(authority.clock(), status, profile, name, expired=expired)
        with authority.database.read() as connection:
            found = list_certificates(connection, *where, newest_first=True)
            rows = [row for _, row in zip(range(limit), found, strict=False)]
        now = authority.clock()
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "certificates": [describe_certificate(row) for row in rows]})
    else:
        screen.say_all(format_table(_HEAD, (_format_row(row, now) for row in rows)) if rows else ["none"])
    return ExitStatus.OK


def show(place: Place, serial: Serial, issuer: IssuerId = "") -> int:
    """Show one certificate: what the CA knows of it, and its PEM."""
    with place.open() as authority:
        row = find_row(authority, serial, issuer)
        now = authority.clock()
    pem = "" if row.der is None else export_pem([parse_row(row)]).decode()
    if place.output is Form.JSON:
        content = {**describe_certificate(row), "pem": pem}
        screen.say_json({"version": SCHEMA_VERSION, "certificate": content})
        return ExitStatus.OK
    described = describe_certificate(row)
    screen.say_all(f"{key.replace('_', ' ')}: {_format_value(value)}" for key, value in described.items())
    screen.say(f"expired: {_format_value(row.not_after <= now)}")
    screen.say(pem.rstrip())
    return ExitStatus.OK


def _list_issuers(place: Place, authority: Authority) -> int:
    found = authority.issuers()
    if place.output is Form.JSON:
        screen.say_json({"version": SCHEMA_VERSION, "issuers": [describe_issuer(one) for one in found]})
    else:
        screen.say_all(format_issuers(found))
    return ExitStatus.OK


def _select(
    now: datetime, status: Status | None, profile: str, name: str, *, expired: bool
) -> Iterator[sa.ColumnElement[bool]]:
    c = certificate.c
    if status is not None:
        yield c.status == status.value
    if profile:
        yield c.profile == profile
    if name:
        yield sa.cast(c.names, sa.Text).contains(name, autoescape=True) | c.subject.contains(name, autoescape=True)
    if not expired:
        yield c.not_after > now


def _format_row(row: Certificate, now: datetime) -> Sequence[str]:
    status = "expired" if row.not_after <= now and row.status is Status.VALID else row.status.value
    reason = row.reason.value if row.reason else ""
    names = ", ".join(row.names.texts) or row.subject
    return (row.serial, status, reason, format_time(row.not_after), row.profile, _find_type(row), names)


def _find_type(row: Certificate) -> str:
    if row.subject_issuer_id:
        return "CA"
    return "key held" if row.key_id else ""


def _format_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else str(value or "-")
