# SPDX-License-Identifier: Apache-2.0
"""Finalize (RFC 8555 section 7.4): the CSR judged, the order claimed, the certificate signed and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import cast

import sqlalchemy as sa

from ottr.ca import jose
from ottr.ca.acme.accounts import Accounts
from ottr.ca.acme.disk import Disk
from ottr.ca.acme.exchange import Ask
from ottr.ca.acme.memory import Memory, View
from ottr.ca.acme.orders import build_names, get_order
from ottr.ca.acme.problems import Problem, malformed
from ottr.ca.acme.records import Authorization, Issued, Order, list_authorizations
from ottr.ca.acme.schema import account
from ottr.ca.acme.schema import order as table
from ottr.ca.acme.settings import AcmeSettings
from ottr.ca.acme.status import read_order_status
from ottr.ca.acme.validation.caa import Claim, check
from ottr.ca.authority import Authority
from ottr.ca.csr import Request, parse_csr
from ottr.ca.issuance import Prepared, Terms, select_names
from ottr.ca.issuers import find_active
from ottr.ca.jose import JoseError, build_jwk
from ottr.ca.model import Issuer, Role
from ottr.ca.writer import Busy
from ottr.errors import NameRefused, RequestRefused, UnknownCertificate
from ottr.statement import Statement

_KEY: sa.BindParameter[str] = sa.bindparam("key")
_CLAIM = Statement(
    table.update().where(table.c.id == _KEY, table.c.status == "pending").values(status="valid"), ["certificate"]
)
_ACCOUNT_STATUS = Statement(sa.select(account.c.status).where(account.c.thumbprint == _KEY))


class Finalizing:
    """The finalize endpoint."""

    def __init__(
        self, authority: Authority, settings: AcmeSettings, memory: Memory, accounts: Accounts, disk: Disk
    ) -> None:
        self._authority = authority
        self._memory = memory
        self._settings = settings
        self._accounts = accounts
        self._disk = disk
        self._at_once = False
        """Whether the last issuer signed without being waited for; the first time nobody knows."""

    def finalize(self, ask: Ask, order_id: str) -> Order:
        """Issue; of two at once one gets ``orderNotReady``. Returns the order as it is then. Raises Problem."""
        order, request, terms = self._read(ask, order_id)
        done = list[Order | Issued]()
        with self._authority.database.write(told=self._memory.tell(done)) as connection:
            done += self._issue(connection, ask, order, request, terms)
        return cast("Order", done[0])

    def begin(self, ask: Ask, order_id: str) -> tuple[Order, Future[None]]:
        """The same for who must not wait: the order as it is when the work is done, which waits for the disk.

        Raises Problem, and Busy also when this takes longer than that: with CAA, tokens, RSA.
        """
        if not self._at_once or self._disk.find_commit() is not None:
            raise Busy
        order, request, terms = self._read(ask, order_id)
        done = list[Order | Issued]()
        with ExitStack() as stack:
            connection = stack.enter_context(self._authority.database.write(wait=False, told=self._memory.tell(done)))
            terms = replace(terms, issuer=self._find_quick(connection))
            done += self._issue(connection, ask, order, request, terms)
            begun = stack.pop_all()
        try:
            return cast("Order", done[0]), self._disk.commit(begun.close)
        except BaseException:
            with begun:  # nobody else would end it, and nobody else could write
                raise

    def _read(self, ask: Ask, order_id: str) -> tuple[Order, Request, Terms]:
        request = _read_request(ask)
        with ask.rows as rows:
            order, proofs = self._get_ready(rows, ask, order_id)
            self._check_names(order, request)
            terms = self._write_terms(rows, ask, order)
        self._check_caa(ask, proofs)
        return order, request, terms

    def _issue(
        self, connection: sa.Connection, ask: Ask, order: Order, request: Request, terms: Terms
    ) -> tuple[Order, Issued]:
        prepared = self._prepare(connection, request, terms)
        try:
            signed = self._sign(connection, ask, order, prepared)
        except BaseException:
            self._authority.issuance.discard(prepared)
            raise
        self._at_once = not self._settings.validation.caa and self._authority.keyring.is_quick(prepared.issuer.key_id)
        return signed

    def _find_quick(self, connection: sa.Connection) -> Issuer:
        """Who signs. After a rollover it is another one, whose key may be yet to be opened: then it raises Busy."""
        try:
            issuer = find_active(connection, Role.INTERMEDIATE, self._authority.clock())
        except UnknownCertificate as error:
            raise Busy from error  # for a thread to say
        if not self._authority.keyring.is_quick(issuer.key_id):
            raise Busy
        return issuer

    def _get_ready(self, rows: View, ask: Ask, order_id: str) -> tuple[Order, tuple[Authorization, ...]]:
        order = get_order(rows, ask.owner, order_id)
        proofs = rows.list_authorizations(order.authorizations)
        status = read_order_status(order, proofs, self._authority.clock())
        if status != "ready":
            raise Problem("orderNotReady", f"the order is {status}")
        return order, proofs

    def _check_names(self, order: Order, request: Request) -> None:
        names = select_names(request, self._authority.settings.profile(order.profile))
        if names.values != build_names(order.names).values:
            raise _bad("its names are not those of the order")

    def _write_terms(self, rows: View, ask: Ask, order: Order) -> Terms:
        """The rules are asked again: they may have changed since the order."""
        rules, lifetime_s = self._accounts.find_rules(lambda: rows.connection, ask.owner), None
        if order.not_after is not None:
            start = order.not_before or self._authority.clock()
            lifetime_s = (order.not_after - start).total_seconds()
            if lifetime_s <= 0:
                raise malformed("notAfter of the order is over")
        return Terms(order.profile, rules, f"acme:{ask.owner.id}", lifetime_s=lifetime_s, not_before=order.not_before)

    def _check_caa(self, ask: Ask, proofs: Sequence[Authorization]) -> None:
        validation = self._settings.validation
        if not validation.caa:
            return
        account_url = ask.url(f"/acct/{ask.owner.id}")
        for proof in (one for one in proofs if one.kind == "dns"):
            method = next((kind for kind, one in proof.challenges.items() if one["status"] == "valid"), "")
            check(proof.value, Claim(account_url, method, proof.wildcard), validation)

    def _prepare(self, connection: sa.Connection, request: Request, terms: Terms) -> Prepared:
        if _find_status(connection, build_jwk(request.public_key).thumbprint) is not None:
            raise _bad("its key is the key of an account (RFC 8555 section 11.1)")
        try:
            return self._authority.issuance.prepare(connection, request, terms, self._authority.clock())
        except NameRefused as error:
            raise Problem("rejectedIdentifier", str(error)) from error
        except RequestRefused as error:
            raise _bad(str(error)) from error
        except UnknownCertificate as error:
            raise Problem("serverInternal", "no issuer of this CA can sign now", 503) from error

    def _sign(self, connection: sa.Connection, ask: Ask, order: Order, prepared: Prepared) -> tuple[Order, Issued]:
        """Claim first, so that whoever comes second signs nothing; all of it is one transaction."""
        place = f"{prepared.issuer.id}/{prepared.linted.serial_number:x}"
        if not _CLAIM.change(connection, {"key": order.id, "certificate": place}):
            raise Problem("orderNotReady", "the order is being finalized")
        _check_still(connection, ask, order, self._authority.clock())
        try:
            row = self._authority.sign(connection, prepared)
        except RequestRefused as error:
            raise _bad(str(error)) from error
        issued = Issued(place, order.account_id, cast("bytes", row.der))
        return replace(order, status="valid", certificate=place), issued


def _check_still(connection: sa.Connection, ask: Ask, order: Order, now: datetime) -> None:
    """An authorization or the account may have been deactivated while the CSR was looked at."""
    if _find_status(connection, ask.owner.thumbprint) != "valid":
        raise Problem("unauthorized", "the account is not valid any more")
    status = read_order_status(order, list_authorizations(connection, order.authorizations), now)
    if status != "ready":
        raise Problem("orderNotReady", f"the order is {status}")


def _find_status(connection: sa.Connection, thumbprint: str) -> str | None:
    """Of the account with a key; None: it has none."""
    row = _ACCOUNT_STATUS.fetch_one(connection, {"key": thumbprint})
    return None if row is None else row[0]


def _read_request(ask: Ask) -> Request:
    try:
        return parse_csr(jose.decode(ask.fields.get("csr"), "csr"))
    except JoseError as error:
        raise malformed(str(error)) from error
    except (RequestRefused, NameRefused) as error:
        raise _bad(str(error)) from error


def _bad(detail: str) -> Problem:
    return Problem("badCSR", detail)
