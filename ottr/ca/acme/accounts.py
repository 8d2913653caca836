# SPDX-License-Identifier: Apache-2.0
"""Accounts (RFC 8555 section 7.3): new ones, contacts, deactivation, another key, external account bindings."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from ottr.ca import envelope, jose
from ottr.ca.acme.exchange import Ask, Reply
from ottr.ca.acme.problems import Problem, malformed, unauthorized
from ottr.ca.acme.records import (
    Account,
    find_account_of_key,
    make_id,
    read_rules,
    write_rules,
)
from ottr.ca.acme.schema import account as table
from ottr.ca.acme.schema import binding_key
from ottr.ca.acme.settings import AcmeSettings, Rate
from ottr.ca.authority import Authority
from ottr.ca.envelope import Passphrase
from ottr.ca.jose import JoseError, Jwk
from ottr.ca.names import NameRules
from ottr.ca.sealed_rows import rewrap_rows
from ottr.errors import RequestRefused

_MOST_CONTACTS = 10
_ADDRESS = re.compile(r"mailto:[^\s?,@]{1,64}@[A-Za-z0-9.-]{1,253}")


class Accounts:
    """The account endpoints."""

    def __init__(self, authority: Authority, settings: AcmeSettings) -> None:
        self._authority = authority
        self._settings = settings

    def create(self, ask: Ask) -> Reply:
        """newAccount: the account of this key, made unless it is there (section 7.3)."""
        fields = ask.fields
        with self._authority.database.write() as connection:
            found = find_account_of_key(connection, ask.jwk.thumbprint)
            if found is not None:
                return _answer_existing(ask, found)
            if fields.get("onlyReturnExisting") is True:
                raise Problem("accountDoesNotExist", "there is no account with this key")
            contact = _read_contact(fields.get("contact"))
            self._check_terms(fields)
            self._limit(connection, ask.message.address)
            account = Account(
                id=make_id(),
                status="valid",
                jwk=ask.jwk.text,
                thumbprint=ask.jwk.thumbprint,
                contact=contact,
                terms_agreed=fields.get("termsOfServiceAgreed") is True,
                address=ask.message.address,
                created_at=self._authority.clock(),
            )
            account = replace(account, eab_kid=self._bind(connection, ask, account))
            connection.execute(table.insert(), asdict(account))
        return _answer(ask, account, 201)

    def change(self, ask: Ask, account_id: str) -> Reply:
        """Contacts and deactivation (sections 7.3.2, 7.3.6); an empty payload reads."""
        account = _check_owner(ask, account_id)
        if not ask.payload:
            return _answer(ask, account)
        fields = ask.payload
        if fields.get("status", "valid") not in ("valid", "deactivated"):
            raise malformed("the status of an account can be changed to deactivated only")
        status = str(fields.get("status", "valid"))
        contact = _read_contact(fields["contact"]) if "contact" in fields else account.contact
        changed = replace(account, status=status, contact=contact)
        with self._authority.database.write() as connection:
            where = (table.c.id == account.id, table.c.status == "valid")
            done = connection.execute(table.update().where(*where).values(status=status, contact=list(contact)))
        if not done.rowcount:
            raise unauthorized("the account is not valid any more")
        return _answer(ask, changed)

    def roll(self, ask: Ask) -> Reply:
        """Another key (section 7.3.5)."""
        account = ask.owner
        jwk = _read_rollover(ask)
        with self._authority.database.write() as connection:
            other = find_account_of_key(connection, jwk.thumbprint)
            if other is not None:
                location = ask.url(f"/acct/{other.id}")
                raise Problem("conflict", "this key has an account already", headers={"Location": location})
            values = {"jwk": jwk.text, "thumbprint": jwk.thumbprint}
            where = (table.c.id == account.id, table.c.thumbprint == account.thumbprint, table.c.status == "valid")
            if not connection.execute(table.update().where(*where).values(values)).rowcount:
                raise malformed("the account has another key by now")
        return _answer(ask, replace(account, jwk=jwk.text, thumbprint=jwk.thumbprint))

    def find_rules(self, connect: Callable[[], sa.Connection], account: Account) -> NameRules:
        """Names an account may have: those of its binding, else the usual ones."""
        if not account.eab_kid:
            return self._settings.rules
        query = sa.select(binding_key.c.rules).where(binding_key.c.kid == account.eab_kid)
        found = connect().execute(query).scalar()
        return NameRules() if found is None else read_rules(found)

    def _check_terms(self, fields: Mapping[str, Any]) -> None:
        if self._settings.terms_of_service and fields.get("termsOfServiceAgreed") is not True:
            link = f'<{self._settings.terms_of_service}>;rel="terms-of-service"'
            raise Problem("userActionRequired", "agree to the terms of service first", headers={"Link": link})

    def _limit(self, connection: sa.Connection, address: str) -> None:
        rate = self._settings.limits.accounts
        if rate is not None:
            times = (table.c.address == address, table.c.created_at)
            check_rate(connection, rate, self._authority, times, "new accounts from this address")

    def _bind(self, connection: sa.Connection, ask: Ask, account: Account) -> str:
        """Check the external account binding (section 7.3.4) and claim its key; empty without."""
        content = ask.fields.get("externalAccountBinding")
        if content is None:
            if self._settings.eab_required:
                raise Problem("externalAccountRequired", "this server needs an external account binding")
            return ""
        try:
            return self._check_binding(connection, ask, content, account)
        except JoseError as error:
            raise unauthorized(f"the external account binding: {error}") from error

    def _check_binding(self, connection: sa.Connection, ask: Ask, content: Any, account: Account) -> str:
        binding = jose.parse_jws(content, "the binding")
        kid = binding.header.get("kid")
        if binding.header.get("url") != ask.jws.header["url"] or "nonce" in binding.header:
            raise JoseError("its protected header has the url of the request and no nonce")
        if jose.parse_jwk(jose.parse_json(binding.payload, "its payload")).thumbprint != ask.jwk.thumbprint:
            raise JoseError("its payload is not the key of the account")
        row = connection.execute(binding_key.select().where(binding_key.c.kid == str(kid))).one_or_none()
        if row is None:
            raise JoseError("there is no such kid")
        binding.verify_mac(envelope.unseal(row.envelope, _name(row.kid), self._authority.passphrase))
        free = (binding_key.c.kid == row.kid, binding_key.c.account_id == "")
        if not connection.execute(binding_key.update().where(*free).values(account_id=account.id)).rowcount:
            raise JoseError("its kid has an account already")
        return str(row.kid)


def create_binding(authority: Authority, rules: NameRules, kid: str = "") -> tuple[str, bytes]:
    """Make a key for one external account binding; its account may have the names of the rules, no others.

    Returns the key's id and the MAC key, which is sealed in the database. Raises RequestRefused for an id that is
    taken or none.
    """
    kid, key = kid or secrets.token_urlsafe(9), secrets.token_bytes(32)
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", kid):
        raise RequestRefused(f"{kid!r} is not the id of a binding", hint="letters, digits, . _ and -, at most 64")
    row = {
        "kid": kid,
        "envelope": envelope.seal(key, _name(kid), authority.passphrase),
        "rules": write_rules(rules),
        "account_id": "",
        "created_at": authority.clock(),
    }
    with authority.database.write() as connection:
        if connection.execute(sa.select(binding_key.c.kid).where(binding_key.c.kid == kid)).scalar():
            raise RequestRefused(f"there is a binding {kid!r} already")
        connection.execute(binding_key.insert(), row)
    return kid, key


def rewrap_bindings(authority: Authority, connection: sa.Connection, new: Passphrase) -> int:
    """Seal the MAC keys of all bindings for another passphrase; return how many. Raises KeyUnavailable."""
    columns = binding_key.c
    return rewrap_rows(connection, columns.kid, columns.envelope, _name, authority.passphrase, new)


def check_rate(
    connection: sa.Connection,
    rate: Rate,
    authority: Authority,
    times: tuple[sa.ColumnElement[bool], sa.Column[Any]],
    what: str,
) -> None:
    """Raise a rateLimited Problem, with Retry-After, when there were as many already in the span."""
    where, at = times
    now = authority.clock()
    query = sa.select(at).where(where, at > now - timedelta(seconds=rate.span_s)).order_by(at.desc())
    oldest = connection.execute(query.offset(rate.most - 1).limit(1)).scalar()
    if oldest is not None:
        wait_s = int((oldest + timedelta(seconds=rate.span_s) - now).total_seconds()) + 1
        raise Problem("rateLimited", f"too many {what}", headers={"Retry-After": str(max(wait_s, 1))})


def _read_rollover(ask: Ask) -> Jwk:
    """The new key, which signed the inner JWS over account and old key."""
    inner = jose.parse_jws(dict(ask.fields), "the inner JWS")
    if inner.header.get("url") != ask.jws.header["url"] or "nonce" in inner.header or "kid" in inner.header:
        raise malformed("the inner JWS has the url of the outer one, the new jwk, no kid and no nonce")
    jwk = jose.parse_jwk(inner.header.get("jwk"))
    inner.verify(jwk)
    content = jose.parse_json(inner.payload, "the inner payload")
    if content.get("account") != ask.url(f"/acct/{ask.owner.id}"):
        raise malformed("the inner payload names another account")
    if jose.parse_jwk(content.get("oldKey")).thumbprint != ask.jwk.thumbprint:
        raise malformed("the oldKey of the inner payload is not the key of the account")
    return jwk


def _check_owner(ask: Ask, account_id: str) -> Account:
    if ask.owner.id != account_id:
        raise unauthorized("this is another account")
    return ask.owner


def _answer_existing(ask: Ask, account: Account) -> Reply:
    if account.status != "valid":
        raise unauthorized(f"the account is {account.status}")
    return _answer(ask, account)


def _answer(ask: Ask, account: Account, status: int = 200) -> Reply:
    location = ask.url(f"/acct/{account.id}")
    document: dict[str, Any] = {
        "status": account.status,
        "contact": list(account.contact),
        "orders": f"{location}/orders",
        "key": json.loads(account.jwk),
    }
    if account.terms_agreed:
        document["termsOfServiceAgreed"] = True
    return Reply(status, document, {"Location": location})


def _read_contact(content: Any) -> Sequence[str]:
    if content is None:
        return []
    if not isinstance(content, list) or not all(isinstance(one, str) for one in content):
        raise malformed("contact is a list of URLs")
    if len(content) > _MOST_CONTACTS:
        raise Problem("invalidContact", f"at most {_MOST_CONTACTS} contacts")
    for one in content:
        if not one.startswith("mailto:"):
            raise Problem("unsupportedContact", "contacts are mailto: URLs")
        if not _ADDRESS.fullmatch(one):
            raise Problem("invalidContact", "a mailto: contact is one address without header fields")
    return content


def _name(kid: str) -> str:
    return f"acme-binding/{kid}"
