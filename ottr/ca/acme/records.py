# SPDX-License-Identifier: Apache-2.0
"""Rows of the ACME tables as values, and their statements, each made once."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ottr.ca.acme import schema
from ottr.ca.names import NameRules
from ottr.ca.schema import certificate as certificates
from ottr.ca.writer import Busy
from ottr.statement import Statement

_MANY = 10
_KEY: sa.BindParameter[str] = sa.bindparam("key")
_ACCOUNT = Statement(schema.account.select().where(schema.account.c.id == _KEY))
_ACCOUNT_OF_KEY = Statement(schema.account.select().where(schema.account.c.thumbprint == _KEY))
_ORDER = Statement(schema.order.select().where(schema.order.c.id == _KEY))
_AUTHORIZATION = Statement(schema.authorization.select().where(schema.authorization.c.id == _KEY))
_ISSUED = Statement(
    sa.select(schema.order.c.account_id, certificates.c.der)
    .join(certificates, sa.true())
    .where(certificates.c.serial == sa.bindparam("one_serial"), certificates.c.issuer_id == sa.bindparam("one_issuer"))
    .where(schema.order.c.certificate == _KEY, schema.order.c.certificate != "")  # as its index says
)


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name of an order (RFC 8555 section 9.7.7, RFC 8738)."""

    kind: str
    """``dns`` or ``ip``."""
    value: str
    """Canonical; a wildcard with its ``*.``."""

    @property
    def document(self) -> dict[str, str]:
        """The JSON of it."""
        return {"type": self.kind, "value": self.value}


@dataclass(frozen=True, slots=True)
class Account:
    """An account."""

    id: str
    status: str
    """``valid``, ``deactivated``, ``revoked``."""
    jwk: str = field(repr=False)
    thumbprint: str = ""
    contact: Sequence[str] = ()
    terms_agreed: bool = False
    eab_kid: str = ""
    address: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """An order as stored; what it counts as follows from its authorizations, see ``orders.read_status``."""

    id: str
    account_id: str
    status: str
    identifiers: Sequence[Sequence[str]]
    names_hash: str
    authorizations: Sequence[str]
    profile: str
    not_before: datetime | None
    not_after: datetime | None
    expires: datetime
    error: Mapping[str, Any] | None
    certificate: str
    replaces: str
    created_at: datetime

    @property
    def names(self) -> tuple[Identifier, ...]:
        """Its identifiers."""
        return tuple(Identifier(kind, value) for kind, value in self.identifiers)


@dataclass(frozen=True, slots=True)
class Authorization:
    """An authorization with its challenges, which share a token."""

    id: str
    account_id: str
    kind: str
    value: str
    wildcard: bool
    status: str
    """``pending``, ``processing`` (a challenge is looked at), ``valid``, ``invalid``, ``deactivated``."""
    token: str
    challenges: Mapping[str, Mapping[str, Any]]
    expires: datetime
    failed_at: datetime | None

    @property
    def identifier(self) -> Identifier:
        """The name, a wildcard without its ``*.``."""
        return Identifier(self.kind, self.value)


@dataclass(frozen=True, slots=True)
class Issued:
    """The certificate of an order."""

    id: str
    """ISSUER/SERIAL."""
    account_id: str
    der: bytes


def write_row(value: Order | Authorization) -> dict[str, Any]:
    """The columns of a value."""
    return {name: getattr(value, name) for name in value.__slots__}


def make_id() -> str:
    """An id nobody can guess."""
    return secrets.token_hex(12)


def hash_names(names: Sequence[Identifier]) -> str:
    """The same for the same names in any order."""
    text = "\n".join(sorted(f"{name.kind}:{name.value}" for name in names))
    return hashlib.sha256(text.encode()).hexdigest()


def find_account(connection: sa.Connection, account_id: str) -> Account | None:
    """An account by its id."""
    row = _ACCOUNT.fetch_one(connection, {"key": account_id})
    return None if row is None else Account(*row)


def find_account_of_key(connection: sa.Connection, thumbprint: str) -> Account | None:
    """An account by the thumbprint of its key."""
    row = _ACCOUNT_OF_KEY.fetch_one(connection, {"key": thumbprint})
    return None if row is None else Account(*row)


def find_order(connection: sa.Connection, order_id: str) -> Order | None:
    """An order by its id."""
    row = _ORDER.fetch_one(connection, {"key": order_id})
    return None if row is None else Order(*row)


def list_some(connection: sa.Connection, query: sa.Select[Any], *, waits: bool) -> tuple[Order, ...]:
    """Orders. Raises Busy when there are many to look at for who must not wait."""
    rows = connection.execute(query if waits else query.limit(_MANY)).all()
    if not waits and len(rows) == _MANY:
        raise Busy
    return tuple(Order(*row) for row in rows)


def find_authorization(connection: sa.Connection, authorization_id: str) -> Authorization | None:
    """An authorization by its id."""
    row = _AUTHORIZATION.fetch_one(connection, {"key": authorization_id})
    return None if row is None else Authorization(*row)


def find_issued(connection: sa.Connection, place: str) -> Issued | None:
    """The certificate of an order by its issuer and serial."""
    issuer_id, _, serial = place.partition("/")
    row = _ISSUED.fetch_one(connection, {"key": place, "one_serial": serial, "one_issuer": issuer_id})
    return None if row is None else Issued(place, *row)


def list_authorizations(connection: sa.Connection, ids: Sequence[str]) -> tuple[Authorization, ...]:
    """Authorizations of an order."""
    found = (find_authorization(connection, one) for one in ids)
    return tuple(one for one in found if one is not None)


def write_rules(rules: NameRules) -> dict[str, list[str]]:
    """Rules of names as JSON."""
    return {"dns": list(rules.dns), "ip": list(rules.ip)}


def read_rules(content: Mapping[str, Sequence[str]]) -> NameRules:
    """Read them back."""
    return NameRules(dns=tuple(content.get("dns", ())), ip=tuple(content.get("ip", ())))
