# SPDX-License-Identifier: Apache-2.0
"""Client certificates of this CA: verified whole, each time, by whoever lets somebody in with one.

That the client has the key is what TLS has shown. Everything else is asked here again, also of what a proxy or a TLS
library has verified: they know neither the table of certificates nor the phases of a rollover.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from ottr.ca import issuers
from ottr.ca.authority import Authority
from ottr.ca.bundle import is_issued_by
from ottr.ca.certificates import find_certificate, get_certificate
from ottr.ca.issuers import find_chain
from ottr.ca.model import Certificate, Issuer, Phase, Status
from ottr.errors import RequestRefused


class ClientRefused(RequestRefused):
    """A client certificate that does not count."""


@dataclass(frozen=True, slots=True)
class Client:
    """A client whose certificate counts."""

    row: Certificate
    certificate: x509.Certificate


def verify_client(authority: Authority, der: bytes) -> Client:
    """The client of a certificate: chain to an issuer of ours that is trusted, validity, the very certificate in the
    table, its status, clientAuth. Raises ClientRefused.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
    except (ValueError, x509.InvalidVersion) as error:
        raise ClientRefused("the client certificate cannot be read") from error
    now = authority.clock()
    with authority.database.read() as connection:
        found = issuers.list_issuers(connection)
        issuer = next((one for one in found if is_issued_by(certificate, one.certificate)), None)
        if issuer is None:
            raise ClientRefused("the client certificate is not of this CA")
        row = find_certificate(connection, issuer.id, format(certificate.serial_number, "x"))
    if row is None or row.der != der:
        raise ClientRefused("the client certificate is not in the table of this CA")
    if not is_trusted(issuer, found, now):
        raise ClientRefused("the issuer of the client certificate is not trusted any more")
    check_status(row, now)
    check_purpose(certificate)
    return Client(row, certificate)


def check_still(connection: sa.Connection, client: Client, now: datetime) -> None:
    """Ask for the status again, in the transaction that acts upon it. Raises ClientRefused."""
    check_status(get_certificate(connection, client.row.id), now)


def check_status(row: Certificate, now: datetime) -> None:
    """Raise ClientRefused unless a certificate is valid now."""
    if row.status is not Status.VALID:
        raise ClientRefused(f"the client certificate is {'on hold' if row.status is Status.HELD else 'revoked'}")
    if not row.not_before <= now < row.not_after:
        raise ClientRefused("the client certificate has expired" if now >= row.not_after else "it is not valid yet")


def check_purpose(certificate: x509.Certificate) -> None:
    """Raise ClientRefused unless a certificate says clientAuth."""
    try:
        purposes = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        purposes = []
    if ExtendedKeyUsageOID.CLIENT_AUTH not in purposes:
        raise ClientRefused("the client certificate is not one for clients: it has no clientAuth")


def is_trusted(issuer: Issuer, known: Iterable[Issuer], now: datetime) -> bool:
    """Whether an issuer and all above it are valid and not retired."""
    return all(
        one.status is Status.VALID and one.phase is not Phase.RETIRED and one.not_before <= now < one.not_after
        for one in find_chain(known, issuer.id)
    )
