# SPDX-License-Identifier: Apache-2.0
"""ACME Renewal Information (RFC 9773)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from ottr.ca import jose
from ottr.ca.acme.exchange import Ask, Reply
from ottr.ca.acme.problems import Problem, malformed, missing
from ottr.ca.acme.records import Identifier, list_authorizations, list_some
from ottr.ca.acme.schema import order
from ottr.ca.acme.settings import AcmeSettings
from ottr.ca.acme.status import read_order_status
from ottr.ca.authority import Authority
from ottr.ca.certificates import find_certificate
from ottr.ca.jose import JoseError
from ottr.ca.model import Certificate, Status
from ottr.ca.schema import issuer

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_WINDOW = 0.04
"""Width of a window, as a share of the lifetime."""
_SPREAD = 0.06
"""How far windows of certificates issued at once lie apart, likewise: renewals of a fleet come evenly."""


class RenewalInfo:
    """The renewalInfo endpoint, open to everybody."""

    def __init__(self, authority: Authority, settings: AcmeSettings) -> None:
        self._authority = authority
        self._settings = settings

    def read(self, cert_id: str) -> Reply:
        """The window of a certificate (section 4.2). Raises Problem."""
        with self._authority.database.read() as connection:
            found = find_by_cert_id(connection, cert_id)
        if found is None:
            raise missing("certificate")
        start, end = suggest(found, self._settings.renew_fraction)
        window = {"start": start.strftime(_TIME), "end": end.strftime(_TIME)}
        return Reply(200, {"suggestedWindow": window}, {"Retry-After": str(int(self._settings.renewal_retry_s))})


def suggest(found: Certificate, fraction: float) -> tuple[datetime, datetime]:
    """When to renew: within the window of a valid certificate; in the past, so at once, of one that was revoked."""
    if found.status is not Status.VALID and found.revoked_at is not None:
        return found.revoked_at - timedelta(hours=1), found.revoked_at
    lifetime = found.not_after - found.not_before
    share = int.from_bytes(hashlib.sha256(found.serial.encode()).digest()[:8], "big") / 2**64
    start = found.not_before + lifetime * (fraction - _WINDOW / 2 + (share - 0.5) * _SPREAD)
    return start, start + max(lifetime * _WINDOW, timedelta(seconds=2))


def find_predecessor(connection: sa.Connection, ask: Ask, names: Sequence[Identifier], now: datetime) -> str:
    """Check the ``replaces`` of a new order (section 5); empty without.

    Raises Problem, alreadyReplaced if it is; Busy when that takes longer than who asks may wait.
    """
    cert_id = ask.fields.get("replaces")
    if cert_id is None:
        return ""
    found = find_by_cert_id(connection, cert_id) if isinstance(cert_id, str) else None
    if found is None or found.requester != f"acme:{ask.owner.id}":
        raise malformed("replaces names no certificate of this account")
    if not {name.value for name in names} & set(found.names.texts):
        raise malformed("the certificate of replaces has none of these names")
    counts = (order.c.status == "valid") | (order.c.expires > now)
    for other in list_some(connection, order.select().where(order.c.replaces == cert_id, counts), waits=ask.waits):
        if read_order_status(other, list_authorizations(connection, other.authorizations), now) != "invalid":
            raise Problem("alreadyReplaced", "an order replaces this certificate already")
    return str(cert_id)


def find_by_cert_id(connection: sa.Connection, cert_id: str) -> Certificate | None:
    """The certificate of an ARI identifier: key identifier and serial (section 4.1). Raises Problem."""
    key_identifier, dot, serial = cert_id.partition(".")
    try:
        raw_identifier, raw_serial = jose.decode(key_identifier, "the id"), jose.decode(serial, "the id")
    except JoseError as error:
        raise malformed("the id of a certificate is two base64url parts with a dot between") from error
    if not dot or not raw_serial or not raw_identifier:
        raise malformed("the id of a certificate is two base64url parts with a dot between")
    number = format(int.from_bytes(raw_serial, "big"), "x")
    query = sa.select(issuer.c.id).where(issuer.c.key_identifier == raw_identifier.hex())
    for issuer_id in connection.execute(query).scalars().all():
        found = find_certificate(connection, issuer_id, number)
        if found is not None:
            return found
    return None
