# SPDX-License-Identifier: Apache-2.0
"""Enrolment passwords: for a first certificate, bound to names and profiles, for a time and a number of uses.

The passwords are made here, of 256 random bits, so a plain hash of one tells nobody anything.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ottr.ca.authority import Authority
from ottr.ca.certificates import record_event
from ottr.ca.est import schema
from ottr.ca.est.schema import user as table
from ottr.ca.issuance import OPERATOR
from ottr.ca.model import AuditEvent
from ottr.ca.names import NameRules
from ottr.errors import RequestRefused

_NAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")  # no colon: HTTP Basic ends the name with it
_USUAL_LIFE_S = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Grant:
    """What a password is good for."""

    rules: NameRules
    profiles: tuple[str, ...]
    life_s: float = _USUAL_LIFE_S
    uses: int | None = None
    """None: as many as its owner likes."""


@dataclass(frozen=True, slots=True)
class User:
    """Who may enrol."""

    name: str
    rules: NameRules
    profiles: tuple[str, ...]


def create_user(authority: Authority, name: str, grant: Grant) -> str:
    """Make a user and return the password, which is stored nowhere. Raises RequestRefused for a name that is taken or
    none, SettingsError for a profile there is none of.
    """
    if not _NAME.fullmatch(name):
        raise RequestRefused(f"{name!r} is not the name of a user", hint="letters, digits, . _ @ and -, at most 64")
    for profile in grant.profiles:
        authority.settings.profile(profile)
    password, now = secrets.token_urlsafe(32), authority.clock()
    row = {
        "name": name,
        "password_sha256": _hash(password),
        "rules": asdict(grant.rules),
        "profiles": list(grant.profiles),
        "uses_left": grant.uses,
        "expires": now + timedelta(seconds=grant.life_s),
        "created_at": now,
    }
    authority.database.ensure("est", schema.VERSION, schema.metadata)
    with authority.database.write() as connection:
        if _find(connection, name) is not None:
            raise RequestRefused(f"there is a user {name!r} already", hint="remove it first, with --remove")
        connection.execute(table.insert(), row)
        record_event(connection, now, AuditEvent("est user", OPERATOR, detail={"user": name}))
    return password


def remove_user(authority: Authority, name: str) -> None:
    """Its password is good for nothing from now on; its certificates stay. Raises RequestRefused when there is none."""
    authority.database.ensure("est", schema.VERSION, schema.metadata)
    with authority.database.write() as connection:
        if not connection.execute(table.delete().where(table.c.name == name)).rowcount:
            raise RequestRefused(f"there is no user {name!r}")
        detail = {"user": name}
        record_event(connection, authority.clock(), AuditEvent("est user removed", OPERATOR, detail=detail))


def find_user(connection: sa.Connection, name: str, password: str, now: datetime) -> User | None:
    """The user of a name and password; None for whatever is wrong with them, in the same time."""
    row = _find(connection, name) if _NAME.fullmatch(name) else None  # PostgreSQL minds a NUL
    expected = _hash("") if row is None else row.password_sha256
    if not hmac.compare_digest(_hash(password), expected) or row is None:
        return None
    if now >= row.expires or row.uses_left == 0:
        return None
    return User(row.name, _read_rules(row.rules), tuple(row.profiles))


def take_use(connection: sa.Connection, user: User) -> None:
    """Count one use, in the transaction that signs. Raises RequestRefused when somebody else took the last."""
    c = table.c
    limited = c.uses_left.is_not(None)
    change = table.update().where(c.name == user.name, sa.or_(~limited, c.uses_left > 0))
    if not connection.execute(change.values(uses_left=c.uses_left - 1)).rowcount:
        raise RequestRefused("this password has been used as often as it may be")


def _find(connection: sa.Connection, name: str) -> Any:
    return connection.execute(table.select().where(table.c.name == name)).one_or_none()


def _hash(password: str) -> str:
    return hashlib.sha256(password.encode()).hexdigest()


def _read_rules(content: Mapping[str, Any]) -> NameRules:
    lists: dict[str, Sequence[str]] = {key: tuple(value) for key, value in content.items() if key != "whole_subject"}
    return NameRules(**lists, whole_subject=bool(content["whole_subject"]))  # type: ignore[arg-type]
