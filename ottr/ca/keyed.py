# SPDX-License-Identifier: Apache-2.0
"""Certificates with keys that the CA makes and holds."""

from __future__ import annotations

from dataclasses import replace

from cryptography import x509

from ottr.ca import held_keys
from ottr.ca.authority import Authority
from ottr.ca.certificates import record_event
from ottr.ca.csr import Request
from ottr.ca.issuance import Terms
from ottr.ca.keys import PrivateKey, generate_key
from ottr.ca.model import AuditEvent, Certificate, KeyAlgorithm, Names
from ottr.errors import RequestRefused


def issue_with_key(
    authority: Authority,
    names: Names,
    subject: x509.Name,
    terms: Terms,
    *,
    algorithm: KeyAlgorithm = KeyAlgorithm.EC256,
    exposed: bool = False,
) -> Certificate:
    """Make a key, certify and keep it, all in one transaction. ``exposed``: its public part is for the JWKS."""
    key, now = generate_key(algorithm), authority.clock()
    request = Request(key.public_key(), names, subject)
    with authority.database.write() as connection:
        key_id = held_keys.insert_key(connection, key, authority.passphrase, now, exposed=exposed)
        prepared = authority.issuance.prepare(connection, request, replace(terms, key_id=key_id), now)
        return authority.sign(connection, prepared)


def take_key(authority: Authority, row: Certificate, actor: str) -> PrivateKey:
    """Give out the key of a certificate, and write down that it was given out. Raises RequestRefused without one."""
    if not row.key_id:
        raise RequestRefused(f"the CA does not hold the key of {row.serial}")
    with authority.database.write() as connection:
        key = held_keys.load_key(connection, row.key_id, authority.passphrase)
        record_event(connection, authority.clock(), AuditEvent("export key", actor, row.issuer_id, row.serial))
    return key
