# SPDX-License-Identifier: Apache-2.0
"""Revocation by the private CA for a task: what is revoked already is left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ottr.ca.authority import Authority
from ottr.ca.certificates import find_by_serial
from ottr.ca.issuance import OPERATOR
from ottr.ca.model import Certificate, Reason, Status
from ottr.cli.ca.place import describe_certificate, find_row
from ottr.errors import RequestRefused, StatusConflict, UnknownCertificate


def revoke(authority: Authority, asked: Mapping[str, Any], *, check: bool) -> dict[str, Any]:
    """Revoke, hold (``certificate_hold``) or release (``remove_from_crl``) the certificate of a serial or a PEM.

    Raises UnknownCertificate, RequestRefused, StatusConflict.
    """
    reason = Reason(asked["reason"])
    row = _find(authority, asked)
    if _is_so(row, reason):
        return {"info": describe_certificate(row), "changed": False, "diff": []}
    if row.status is Status.REVOKED:
        raise StatusConflict(f"{row.serial} is revoked, and not on hold", hint="a revocation cannot be taken back")
    after = row if check else authority.revoke(row.issuer_id, row.serial, reason, OPERATOR)
    before_and_after = [
        {"what": "status", "before": row.status.value, "after": _predict(reason).value},
        {"what": "reason", "before": row.reason.value if row.reason else "", "after": reason.value},
    ]
    return {"info": describe_certificate(after), "changed": True, "diff": before_and_after}


def _find(authority: Authority, asked: Mapping[str, Any]) -> Certificate:
    if asked["certificate"] is None:
        return find_row(authority, asked["serial"], asked["issuer"])
    try:
        leaf = x509.load_pem_x509_certificate(asked["certificate"].encode())
    except (ValueError, x509.InvalidVersion) as error:
        raise RequestRefused("this is no certificate in PEM") from error
    serial, sha256 = format(leaf.serial_number, "x"), leaf.fingerprint(hashes.SHA256()).hex()
    with authority.database.read() as connection:
        for row in find_by_serial(connection, serial):
            if row.sha256 == sha256:
                return row
    raise UnknownCertificate(f"the certificate with the serial {serial} is not one of this CA")


def _is_so(row: Certificate, reason: Reason) -> bool:
    """Whether there is nothing to do; a certificate that is revoked keeps the reason it has."""
    return {
        Status.REVOKED: reason not in (Reason.CERTIFICATE_HOLD, Reason.REMOVE_FROM_CRL),
        Status.HELD: reason is Reason.CERTIFICATE_HOLD,
        Status.VALID: reason is Reason.REMOVE_FROM_CRL,
    }[row.status]


def _predict(reason: Reason) -> Status:
    """The status that a reason leads to."""
    return {Reason.CERTIFICATE_HOLD: Status.HELD, Reason.REMOVE_FROM_CRL: Status.VALID}.get(reason, Status.REVOKED)
