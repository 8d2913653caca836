# SPDX-License-Identifier: Apache-2.0
"""Finalize (RFC 8555 section 7.4): the CSR judged, the order claimed, the certificate signed and recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from ottr.ca import jose
from ottr.ca.acme.accounts import Accounts
from ottr.ca.acme.exchange import Ask
from ottr.ca.acme.orders import build_names, get_order
from ottr.ca.acme.problems import Problem, malformed
from ottr.ca.acme.records import Authorization, Order, find_account_of_key, list_authorizations
from ottr.ca.acme.schema import order as table
from ottr.ca.acme.settings import AcmeSettings
from ottr.ca.acme.status import read_order_status
from ottr.ca.acme.validation.caa import Claim, check
from ottr.ca.authority import Authority
from ottr.ca.csr import Request, parse_csr
from ottr.ca.issuance import Prepared, Terms, select_names
from ottr.ca.jose import JoseError, build_jwk
from ottr.ca.statements import Statement
from ottr.errors import NameRefused, RequestRefused, UnknownCertificate

_ONE = table.update().where(table.c.id == sa.bindparam("key"))
_CLAIM = Statement(_ONE.where(table.c.status == "pending"), ["status"])
_NOTE = Statement(_ONE, ["certificate"])


class Finalizing:
    """The finalize endpoint."""

    def __init__(self, authority: Authority, settings: AcmeSettings, accounts: Accounts) -> None:
        self._authority = authority
        self._settings = settings
        self._accounts = accounts

    def finalize(self, ask: Ask, order_id: str) -> Order:
        """Issue; of two at once one gets ``orderNotReady``. Returns the order as it is then. Raises Problem."""
        request = _read_request(ask)
        with self._authority.database.read() as connection:
            order, proofs = self._get_ready(connection, ask, order_id)
            self._check_request(connection, ask, order, request)
            terms = self._write_terms(connection, ask, order)
        self._check_caa(ask, proofs)
        prepared = self._prepare(request, terms)
        try:
            with self._authority.database.write() as connection:
                return self._sign(connection, ask, order, prepared)
        except BaseException:
            self._authority.issuance.discard(prepared)
            raise

    def _get_ready(self, connection: sa.Connection, ask: Ask, order_id: str) -> tuple[Order, tuple[Authorization, ...]]:
        order = get_order(connection, ask.owner, order_id)
        proofs = list_authorizations(connection, order.authorizations)
        status = read_order_status(order, proofs, self._authority.clock())
        if status != "ready":
            raise Problem("orderNotReady", f"the order is {status}")
        return order, proofs

    def _check_request(self, connection: sa.Connection, ask: Ask, order: Order, request: Request) -> None:
        names = select_names(request, self._authority.settings.profile(order.profile))
        if names.values != build_names(order.names).values:
            raise _bad("its names are not those of the order")
        thumbprint = build_jwk(request.public_key).thumbprint
        if thumbprint == ask.jwk.thumbprint or find_account_of_key(connection, thumbprint) is not None:
            raise _bad("its key is the key of an account (RFC 8555 section 11.1)")

    def _write_terms(self, connection: sa.Connection, ask: Ask, order: Order) -> Terms:
        """The rules are asked again: they may have changed since the order."""
        rules, lifetime_s = self._accounts.find_rules(connection, ask.owner), None
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

    def _prepare(self, request: Request, terms: Terms) -> Prepared:
        try:
            return self._authority.prepare(request, terms)
        except NameRefused as error:
            raise Problem("rejectedIdentifier", str(error)) from error
        except RequestRefused as error:
            raise _bad(str(error)) from error
        except UnknownCertificate as error:
            raise Problem("serverInternal", "no issuer of this CA can sign now", 503) from error

    def _sign(self, connection: sa.Connection, ask: Ask, order: Order, prepared: Prepared) -> Order:
        """Claim first, so that whoever comes second signs nothing; all of it is one transaction."""
        if not _CLAIM.change(connection, {"key": order.id, "status": "valid"}):
            raise Problem("orderNotReady", "the order is being finalized")
        _check_still(connection, ask, order, self._authority.clock())
        try:
            row = self._authority.sign(connection, prepared)
        except RequestRefused as error:
            raise _bad(str(error)) from error
        place = f"{row.issuer_id}/{row.serial}"
        _NOTE.change(connection, {"key": order.id, "certificate": place})
        return replace(order, status="valid", certificate=place)


def _check_still(connection: sa.Connection, ask: Ask, order: Order, now: datetime) -> None:
    """An authorization or the account may have been deactivated while the CSR was looked at."""
    account = find_account_of_key(connection, ask.jwk.thumbprint)
    if account is None or account.status != "valid":
        raise Problem("unauthorized", "the account is not valid any more")
    status = read_order_status(order, list_authorizations(connection, order.authorizations), now)
    if status != "ready":
        raise Problem("orderNotReady", f"the order is {status}")


def _read_request(ask: Ask) -> Request:
    try:
        return parse_csr(jose.decode(ask.fields.get("csr"), "csr"))
    except JoseError as error:
        raise malformed(str(error)) from error
    except (RequestRefused, NameRefused) as error:
        raise _bad(str(error)) from error


def _bad(detail: str) -> Problem:
    return Problem("badCSR", detail)
