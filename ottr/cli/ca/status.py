# SPDX-License-Identifier: Apache-2.0
"""``ottr ca revoke``, ``hold`` and ``release``."""

from __future__ import annotations

from typing import Annotated

import typer

from ottr.ca.model import Reason
from ottr.cli.ca.place import IssuerId, Place, Serial, find_row, format_time, show_row
from ottr.report import ExitStatus

_OPERATOR = "operator"


def revoke(
    place: Place,
    serial: Serial,
    reason: Annotated[Reason, typer.Option("--reason", help="Of RFC 5280.")] = Reason.UNSPECIFIED,
    issuer: IssuerId = "",
) -> int:
    """Revoke a certificate, for good. An issuer revoked for a compromise takes all it has signed with it."""
    return _change(place, serial, issuer, reason)


def hold(place: Place, serial: Serial, issuer: IssuerId = "") -> int:
    """Suspend a certificate until it is released or revoked."""
    return _change(place, serial, issuer, Reason.CERTIFICATE_HOLD)


def release(place: Place, serial: Serial, issuer: IssuerId = "") -> int:
    """Lift the hold of a certificate."""
    return _change(place, serial, issuer, Reason.REMOVE_FROM_CRL)


def _change(place: Place, serial: str, issuer: str, reason: Reason) -> int:
    with place.open() as authority:
        row = find_row(authority, serial, issuer)
        after = authority.revoke(row.issuer_id, row.serial, reason, _OPERATOR)
    since = f" since {format_time(after.revoked_at)}" if after.revoked_at else ""
    show_row(place, after, f"{after.status.value}{since}")
    return ExitStatus.OK
