# SPDX-License-Identifier: Apache-2.0
"""Certificates: downloaded with their chain (RFC 8555 section 7.4.2) and revoked (section 7.6)."""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca import jose
from ottr.ca.acme.exchange import Ask, Reply
from ottr.ca.acme.problems import Problem, malformed, missing, unauthorized
from ottr.ca.acme.records import Account, Authorization
from ottr.ca.acme.schema import authorization
from ottr.ca.acme.status import read_authorization_status
from ottr.ca.authority import Authority
from ottr.ca.certificates import find_by_serial
from ottr.ca.jose import JoseError
from ottr.ca.keys import hash_public_key
from ottr.ca.model import Certificate, Reason
from ottr.errors import StatusConflict

_REASONS = frozenset(
    {
        Reason.UNSPECIFIED,
        Reason.KEY_COMPROMISE,
        Reason.AFFILIATION_CHANGED,
        Reason.SUPERSEDED,
        Reason.CESSATION_OF_OPERATION,
        Reason.PRIVILEGE_WITHDRAWN,
    }
)
"""What a subscriber can know; the others are the CA's to say."""


class Downloads:
    """The certificate and revokeCert endpoints."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def read(self, ask: Ask, issuer_id: str, serial: str, chain: str = "0") -> Reply:
        """The PEM chain of a certificate; ``chain`` is the number of an alternate."""
        ask.read_only()
        place = f"{issuer_id}/{serial}"
        with ask.rows as rows:
            found = rows.find_issued(place)
            if found is None:
                raise missing("certificate")
            chains = rows.find_chains(issuer_id)
        if found.account_id != ask.owner.id:
            raise unauthorized("this certificate is another account's")
        if not re.fullmatch(r"[0-9]{1,3}", chain) or int(chain) >= len(chains):
            raise missing("chain")
        links = tuple(
            f'<{ask.url(f"/cert/{place}")}{f"/{number}" if number else ""}>;rel="alternate"'
            for number in range(len(chains))
            if number != int(chain)
        )
        body = ssl.DER_cert_to_PEM_cert(found.der).encode() + b"".join(map(_write_pem, chains[int(chain)]))
        return Reply(links=links, body=body, content_type="application/pem-certificate-chain")

    def revoke(self, ask: Ask) -> Reply:
        """Revoke for the account that got it, one that holds all its names, or who has its key."""
        der = _read_der(ask.fields)
        reason = _read_reason(ask.fields)
        with self._authority.database.write() as connection:
            found = self._find(connection, der)
            if found is None:
                raise missing("certificate")
            actor = self._identify(connection, ask, found, der, reason)
            try:
                self._authority.revoke_row(connection, found, reason, actor)
            except StatusConflict as error:
                raise Problem("alreadyRevoked", "the certificate is revoked already") from error
        return Reply()

    def _find(self, connection: sa.Connection, der: bytes) -> Certificate | None:
        """The very certificate, not one that only has its serial."""
        try:
            serial = format(x509.load_der_x509_certificate(der).serial_number, "x")
        except (ValueError, x509.InvalidVersion) as error:
            raise malformed("the certificate cannot be read") from error
        return next((found for found in find_by_serial(connection, serial) if found.der == der), None)

    def _identify(self, connection: sa.Connection, ask: Ask, found: Certificate, der: bytes, reason: Reason) -> str:
        """Who asks. That a key is known to others, and so never certified again, say only those who had it."""
        if ask.account is None:
            key = x509.load_der_x509_certificate(der).public_key()
            if hash_public_key(key) != hash_public_key(ask.jwk.key):  # type: ignore[arg-type]  # of a row of ours
                raise unauthorized("this is not the key of the certificate")
            return "acme:certificate-key"
        requester = f"acme:{ask.account.id}"
        if found.requester == requester:
            return requester
        if not self._holds(connection, ask.account, found):
            raise unauthorized("this account neither got the certificate nor holds all its names")
        if reason is Reason.KEY_COMPROMISE:
            raise Problem("badRevocationReason", "that a key is compromised is said with that key")
        return requester

    def _holds(self, connection: sa.Connection, account: Account, found: Certificate) -> bool:
        now = self._authority.clock()
        query = authorization.select().where(
            authorization.c.account_id == account.id, authorization.c.status == "valid"
        )
        proofs = [Authorization(*row) for row in connection.execute(query)]
        held = {
            f"*.{one.value}" if one.wildcard else one.value
            for one in proofs
            if read_authorization_status(one, now) == "valid"
        }
        return bool(found.names.texts) and set(found.names.texts) <= held


@lru_cache(maxsize=64)
def _write_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _read_der(fields: Mapping[str, Any]) -> bytes:
    try:
        return jose.decode(fields.get("certificate"), "certificate")
    except JoseError as error:
        raise malformed(str(error)) from error


def _read_reason(fields: Mapping[str, Any]) -> Reason:
    code = fields.get("reason", 0)
    try:
        reason = Reason.of_code(code) if type(code) is int else None
    except ValueError:
        reason = None
    if reason not in _REASONS:
        allowed = ", ".join(str(one.code) for one in sorted(_REASONS, key=lambda one: one.code))
        raise Problem("badRevocationReason", f"reasons a subscriber can give: {allowed}")
    return reason
