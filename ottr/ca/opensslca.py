# SPDX-License-Identifier: Apache-2.0
"""The ``index.txt`` of ``openssl ca``: what a CA issued before it moved here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType

from ottr.ca.model import Reason
from ottr.errors import RequestRefused

_COLUMNS = 6
_TIME = re.compile(r"(\d{2}|\d{4})(\d{10})Z")
_REASONS = MappingProxyType(
    {
        "": Reason.UNSPECIFIED,
        "unspecified": Reason.UNSPECIFIED,
        "keycompromise": Reason.KEY_COMPROMISE,
        "keytime": Reason.KEY_COMPROMISE,
        "cacompromise": Reason.CA_COMPROMISE,
        "cakeytime": Reason.CA_COMPROMISE,
        "affiliationchanged": Reason.AFFILIATION_CHANGED,
        "superseded": Reason.SUPERSEDED,
        "cessationofoperation": Reason.CESSATION_OF_OPERATION,
        "certificatehold": Reason.CERTIFICATE_HOLD,
        "holdinstruction": Reason.CERTIFICATE_HOLD,
        "removefromcrl": Reason.REMOVE_FROM_CRL,
    }
)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One line."""

    serial: str
    not_after: datetime
    revoked_at: datetime | None
    reason: Reason | None
    file_name: str
    """Of the certificate; empty: ``unknown``."""
    subject: str
    """As OpenSSL wrote it: ``/CN=...``."""


def parse_index(text: str, where: str) -> tuple[IndexEntry, ...]:
    """Read an index. Raises RequestRefused naming the line."""
    lines = enumerate(text.splitlines(), 1)
    return tuple(_parse_line(line, f"{where}:{number}") for number, line in lines if line.strip())


def _parse_line(line: str, where: str) -> IndexEntry:
    columns = line.split("\t")
    if len(columns) != _COLUMNS or columns[0] not in ("V", "R", "E"):
        raise RequestRefused(f"{where}: not a line of an `openssl ca` index")
    status, expiry, revocation, serial, file_name, subject = columns
    if not re.fullmatch(r"[0-9A-Fa-f]{1,40}", serial):
        raise RequestRefused(f"{where}: {serial!r} is not a serial")
    revoked_at, reason = _parse_revocation(revocation, where) if status == "R" else (None, None)
    return IndexEntry(
        serial=format(int(serial, 16), "x"),
        not_after=_parse_time(expiry, where),
        revoked_at=revoked_at,
        reason=reason,
        file_name="" if file_name == "unknown" else file_name,
        subject=subject,
    )


def _parse_revocation(text: str, where: str) -> tuple[datetime, Reason]:
    """``TIME[,REASON[,MORE]]``."""
    time, _, rest = text.partition(",")
    word = rest.partition(",")[0].lower()
    if word not in _REASONS:
        raise RequestRefused(f"{where}: {word!r} is not a reason of `openssl ca`")
    return _parse_time(time, where), _REASONS[word]


def _parse_time(text: str, where: str) -> datetime:
    """UTCTime or GeneralizedTime; two digits of a year mean 1950 to 2049 (RFC 5280 section 4.1.2.5.1)."""
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        year = found[1] if len(found[1]) == 4 else ("19" if found[1] >= "50" else "20") + found[1]
        return datetime.strptime(year + found[2], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError as error:
        raise RequestRefused(f"{where}: {text!r} is not a time") from error
