# SPDX-License-Identifier: Apache-2.0
"""Certificates over EST: a first one by a password or a bootstrap certificate, and the next by the one before."""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa
from cryptography import x509

from ottr.ca.authority import Authority, parse_row
from ottr.ca.certificates import record_event
from ottr.ca.clients import Client, check_still
from ottr.ca.csr import Request, read_common_name
from ottr.ca.est.callers import EstProblem
from ottr.ca.est.users import User, take_use
from ottr.ca.issuance import Terms, select_names
from ottr.ca.model import AuditEvent, Certificate
from ottr.ca.names import ANY_NAME, NameRules
from ottr.ca.schema import certificate
from ottr.errors import NameRefused


def enrol_user(authority: Authority, user: User, profile: str, request: Request) -> x509.Certificate:
    """A first certificate by password. Raises NameRefused, RequestRefused."""
    terms = Terms(profile, user.rules, f"est:user/{user.name}")
    return parse_row(_issue(authority, request, terms, lambda connection: take_use(connection, user)))


def enrol_client(authority: Authority, client: Client, profile: str, request: Request) -> x509.Certificate:
    """A first certificate by a bootstrap certificate: for names that it has, or some of them, and no others."""
    row = client.row
    names = select_names(request, authority.settings.profile(profile))
    for _, name in sorted(names.values - row.names.values):
        raise NameRefused(f"{name} is not a name of the client certificate")
    common_name = read_common_name(client.certificate.subject)
    if request.common_name not in ("", common_name, *row.names.texts):
        raise NameRefused(f"{request.common_name!r} is not the common name of the client certificate")
    terms = Terms(profile, NAMES_CHECKED, f"est:{row.issuer_id}/{row.serial}")
    return parse_row(_issue(authority, request, terms, lambda connection: _check(authority, connection, client)))


def renew_client(authority: Authority, client: Client, request: Request) -> x509.Certificate:
    """The next certificate of a client: subject, names and profile of the one it has (RFC 7030 section 4.2.2), with
    the same key or another. Raises EstProblem for a CSR that says something else, RequestRefused.
    """
    row, subject = client.row, client.certificate.subject
    if request.subject != subject or request.names.values != row.names.values:
        said = ", ".join((subject.rfc4514_string() or "no subject", *row.names.texts))
        raise EstProblem(400, f"subject and names of the CSR must be those of the certificate: {said}")
    terms = Terms(row.profile, ANY_NAME, f"est:{row.issuer_id}/{row.serial}")
    prepared = authority.prepare(request, terms)
    if prepared.linted.subject != subject:
        raise EstProblem(403, f"certificates of the profile {row.profile} have no such subject any more")
    with authority.database.write() as connection:
        _check(authority, connection, client)
        new = authority.sign(connection, prepared)
        connection.execute(certificate.update().where(certificate.c.id == row.id).values(replaced_by=new.id))
        event = AuditEvent("renew", new.requester, new.issuer_id, new.serial, {"replaces": row.serial})
        record_event(connection, authority.clock(), event)
    return parse_row(new)


NAMES_CHECKED = NameRules(ANY_NAME.dns, ANY_NAME.ip, ANY_NAME.email, ANY_NAME.uri, ANY_NAME.common_names)
"""For a requester whose names were compared with those it has already; of the subject only the common name."""


def _issue(authority: Authority, request: Request, terms: Terms, claim: Callable[[sa.Connection], None]) -> Certificate:
    """Sign if what allows it still does, in one transaction."""
    prepared = authority.prepare(request, terms)
    with authority.database.write() as connection:
        claim(connection)
        return authority.sign(connection, prepared)


def _check(authority: Authority, connection: sa.Connection, client: Client) -> None:
    check_still(connection, client, authority.clock())
