# SPDX-License-Identifier: Apache-2.0
"""Keys the CA holds for others, and those of its OCSP signers: sealed rows of the database."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from cryptography.hazmat.primitives.serialization import load_der_public_key

from ottr.ca import envelope
from ottr.ca.envelope import Passphrase
from ottr.ca.keys import PrivateKey, PublicKey, encode_private_key, encode_public_key, judge_key, parse_private_key
from ottr.ca.schema import held_key
from ottr.ca.sealed_rows import rewrap_rows
from ottr.errors import UnknownCertificate


@dataclass(frozen=True, slots=True)
class HeldKey:
    """The public side of a key the CA holds."""

    id: str
    """Also the ``kid`` of a JWK."""
    public_key: PublicKey
    exposed: bool
    """Its public part is published for whoever verifies tokens."""
    created_at: datetime


def insert_key(
    connection: sa.Connection, key: PrivateKey, passphrase: Passphrase, now: datetime, *, exposed: bool = False
) -> str:
    """Seal a key and return its id."""
    key_id = secrets.token_hex(8)
    public_key = key.public_key()
    row = {
        "id": key_id,
        "algorithm": judge_key(public_key).value,
        "envelope": envelope.seal(encode_private_key(key), _name(key_id), passphrase),
        "public_key_der": encode_public_key(public_key),
        "exposed": exposed,
        "created_at": now,
    }
    connection.execute(held_key.insert(), row)
    return key_id


def load_key(connection: sa.Connection, key_id: str, passphrase: Passphrase) -> PrivateKey:
    """Open a key. Raises UnknownCertificate, KeyUnavailable."""
    text = connection.execute(sa.select(held_key.c.envelope).where(held_key.c.id == key_id)).scalar()
    if text is None:
        raise UnknownCertificate(f"the CA holds no key {key_id!r}")
    return parse_private_key(envelope.unseal(text, _name(key_id), passphrase), None, f"key {key_id}")


def list_keys(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> Iterator[HeldKey]:
    """Keys by conditions over ``schema.held_key``, the oldest first."""
    for row in connection.execute(held_key.select().where(*where).order_by(held_key.c.created_at, held_key.c.id)):
        key = load_der_public_key(row.public_key_der)
        yield HeldKey(row.id, key, row.exposed, row.created_at)  # type: ignore[arg-type]  # judged when inserted


def rewrap_keys(connection: sa.Connection, old: Passphrase, new: Passphrase) -> int:
    """Seal every key for another passphrase; return how many. Those that have it already stay."""
    return rewrap_rows(connection, held_key.c.id, held_key.c.envelope, _name, old, new)


def _name(key_id: str) -> str:
    """An issuer's key is never taken for a held one: their envelopes have other names."""
    return f"held/{key_id}"
