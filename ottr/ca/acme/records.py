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

_ACCOUNT = schema.account.select().where(schema.account.c.id == sa.bindparam("key"))
_ACCOUNT_OF_KEY = schema.account.select().where(schema.account.c.thumbprint == sa.bindparam("key"))
_ORDER = schema.order.select().where(schema.order.c.id == sa.bindparam("key"))
_AUTHORIZATION = schema.authorization.select().where(schema.authorization.c.id == sa.bindparam("key"))
_AUTHORIZATIONS = schema.authorization.select().where(
    schema.authorization.c.id.in_(sa.bindparam("keys", expanding=True))
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


def make_id() -> str:
    """An id nobody can guess."""
    return secrets.token_hex(12)


def hash_names(names: Sequence[Identifier]) -> str:
    """The same for the same names in any order."""
    text = "\n".join(sorted(f"{name.kind}:{name.value}" for name in names))
    return hashlib.sha256(text.encode()).hexdigest()


def find_account(connection: sa.Connection, account_id: str) -> Account | None:
    """An account by its id."""
    row = connection.execute(_ACCOUNT, {"key": account_id}).one_or_none()
    return None if row is None else Account(*row)


def find_account_of_key(connection: sa.Connection, thumbprint: str) -> Account | None:
    """An account by the thumbprint of its key."""
    row = connection.execute(_ACCOUNT_OF_KEY, {"key": thumbprint}).one_or_none()
    return None if row is None else Account(*row)


def find_order(connection: sa.Connection, order_id: str) -> Order | None:
    """An order by its id."""
    row = connection.execute(_ORDER, {"key": order_id}).one_or_none()
    return None if row is None else Order(*row)


def find_authorization(connection: sa.Connection, authorization_id: str) -> Authorization | None:
    """An authorization by its id."""
    row = connection.execute(_AUTHORIZATION, {"key": authorization_id}).one_or_none()
    return None if row is None else Authorization(*row)


def list_authorizations(connection: sa.Connection, ids: Sequence[str]) -> tuple[Authorization, ...]:
    """Authorizations of an order."""
    if len(ids) == 1:
        found = find_authorization(connection, ids[0])
        return () if found is None else (found,)
    return tuple(Authorization(*row) for row in connection.execute(_AUTHORIZATIONS, {"keys": list(ids)}))


def write_rules(rules: NameRules) -> dict[str, list[str]]:
    """Rules of names as JSON."""
    return {"dns": list(rules.dns), "ip": list(rules.ip)}


def read_rules(content: Mapping[str, Sequence[str]]) -> NameRules:
    """Read them back."""
    return NameRules(dns=tuple(content.get("dns", ())), ip=tuple(content.get("ip", ())))
