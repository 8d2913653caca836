# SPDX-License-Identifier: Apache-2.0
"""What others need to verify certificates of the CA: all its issuers that are trusted."""

from __future__ import annotations

from cryptography import x509

from ottr.ca import issuers
from ottr.ca.authority import Authority
from ottr.ca.clients import is_trusted
from ottr.ca.model import Role


def list_trusted(authority: Authority) -> tuple[x509.Certificate, ...]:
    """Roots of every generation that is not retired, revoked or over, then their intermediates, then the certificates
    by which old roots vouch for new ones: what EST calls the CA certificates (RFC 7030 section 4.1.3), and what a
    server needs that asks for client certificates.
    """
    now, known = authority.clock(), authority.issuers()
    trusted = [one for one in known if is_trusted(one, known, now)]
    with authority.database.read() as connection:
        crosses = [
            cross
            for one in trusted
            if one.role is Role.ROOT
            for cross in issuers.list_cross_certificates(connection, one.id)
        ]
    ordered = sorted(trusted, key=lambda one: one.role is not Role.ROOT)
    return (*(one.certificate for one in ordered), *crosses)
