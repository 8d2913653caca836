# SPDX-License-Identifier: Apache-2.0
"""Orders (RFC 8555 section 7.4): made, read, listed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from ottr.ca.acme.accounts import Accounts, check_rate
from ottr.ca.acme.authorizations import Authorizations
from ottr.ca.acme.exchange import Ask, Reply
from ottr.ca.acme.memory import Memory, View
from ottr.ca.acme.problems import Problem, malformed, missing, unauthorized
from ottr.ca.acme.records import (
    Account,
    Authorization,
    Identifier,
    Order,
    hash_names,
    list_authorizations,
    list_some,
    make_id,
    write_row,
)
from ottr.ca.acme.renewal_info import find_predecessor
from ottr.ca.acme.schema import order as table
from ottr.ca.acme.settings import AcmeSettings
from ottr.ca.acme.status import read_error, read_order_status
from ottr.ca.acme.validation import offer
from ottr.ca.authority import Authority
from ottr.ca.issuance import MOST_AHEAD
from ottr.ca.model import Names
from ottr.ca.names import MOST_NAMES, parse_dns, parse_ip
from ottr.errors import NameRefused
from ottr.statement import insert

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_INSERT = insert(table)


class Orders:
    """The order endpoints but finalize."""

    def __init__(
        self,
        authority: Authority,
        settings: AcmeSettings,
        memory: Memory,
        accounts: Accounts,
        authorized: Authorizations,
    ) -> None:
        self._authority = authority
        self._memory = memory
        self._settings = settings
        self._accounts = accounts
        self._authorized = authorized

    def create(self, ask: Ask) -> Reply:
        """newOrder; with ``reuse_orders`` one that is open for the same names is given again."""
        fields, account = ask.fields, ask.owner
        names = _read_names(fields.get("identifiers"), self._settings)
        profile = self._read_profile(fields)
        not_before, not_after = (_read_time(fields, key) for key in ("notBefore", "notAfter"))
        _check_span(not_before, not_after, self._authority.clock())
        made = list[Order | Authorization]()
        with self._authority.database.write(durable=False, wait=ask.waits, told=self._memory.tell(made)) as connection:
            self._check_names(connection, account, names)
            found = self._find_open(connection, ask, names, profile)
            if found is not None and not_before is None and not_after is None:
                return self._answer(ask, found, list_authorizations(connection, found.authorizations), 201)
            replaces = find_predecessor(connection, ask, names, self._authority.clock())
            if not replaces:
                self._limit(connection, account, names)
            proofs = [self._authorized.find_or_insert(connection, account.id, name) for name in names]
            order = self._insert(connection, account, names, proofs, profile, (not_before, not_after), replaces)
            made += [order, *proofs]
            return self._answer(ask, order, proofs, 201)

    def read(self, ask: Ask, order_id: str) -> Reply:
        """Read one."""
        ask.read_only()
        with ask.rows as rows:
            order = get_order(rows, ask.owner, order_id)
            return self._answer(ask, order, rows.list_authorizations(order.authorizations))

    def list(self, ask: Ask, account_id: str, cursor: str) -> Reply:
        """An account's orders, the newest first, without invalid ones, in pages (section 7.1.2.1)."""
        ask.read_only()
        if ask.owner.id != account_id:
            raise unauthorized("these are another account's orders")
        start, size = int(cursor) if re.fullmatch(r"[0-9]{1,9}", cursor) else 0, self._settings.orders_per_page
        query = table.select().where(table.c.account_id == account_id, table.c.status != "invalid")
        query = query.order_by(table.c.created_at.desc(), table.c.id).offset(start).limit(size + 1)
        with self._authority.database.read() as connection:
            orders = [Order(*row) for row in connection.execute(query)]
            shown = [one for one in orders[:size] if self._counts(connection, one)]
        following = f'<{ask.url(f"/acct/{account_id}/orders?cursor={start + size}")}>;rel="next"'
        document = {"orders": [ask.url(f"/order/{one.id}") for one in shown]}
        return Reply(200, document, links=(following,) if len(orders) > size else ())

    def show(self, ask: Ask, order: Order) -> Reply:
        """The answer about an order that has just changed."""
        return self._answer(ask, order, ())

    def _counts(self, connection: sa.Connection, order: Order) -> bool:
        proofs = list_authorizations(connection, order.authorizations)
        return read_order_status(order, proofs, self._authority.clock()) != "invalid"

    def _read_profile(self, fields: Mapping[str, Any]) -> str:
        profile = fields.get("profile") or next(iter(self._settings.profiles))
        if not isinstance(profile, str) or profile not in self._settings.profiles:
            raise Problem("invalidProfile", "the profiles there are: " + ", ".join(self._settings.profiles))
        return profile

    def _check_names(self, connection: sa.Connection, account: Account, names: Sequence[Identifier]) -> None:
        rules = self._accounts.find_rules(lambda: connection, account)
        refused = set(rules.refuse(build_names(names)))
        problems = [_reject(name, "this account may not have this name") for name in names if name.value in refused]
        if len(problems) == 1:
            raise problems[0]
        if problems:
            raise Problem("rejectedIdentifier", "this account may not have these names", subproblems=problems)

    def _find_open(
        self, connection: sa.Connection, ask: Ask, names: Sequence[Identifier], profile: str
    ) -> Order | None:
        if not self._settings.reuse_orders:
            return None
        c, now = table.c, self._authority.clock()
        query = table.select().where(
            c.names_hash == hash_names(names),
            c.account_id == ask.owner.id,
            c.profile == profile,
            c.status == "pending",
            c.expires > now,
            c.not_before.is_(None),
            c.not_after.is_(None),
        )
        for order in list_some(connection, query.order_by(c.created_at.desc()), waits=ask.waits):
            if read_order_status(order, list_authorizations(connection, order.authorizations), now) in (
                "pending",
                "ready",
            ):
                return order
        return None

    def _limit(self, connection: sa.Connection, account: Account, names: Sequence[Identifier]) -> None:
        limits, c = self._settings.limits, table.c
        if limits.orders is not None:
            check_rate(connection, limits.orders, self._authority, (c.account_id == account.id, c.created_at), "orders")
        if limits.certificates is not None:
            where = (c.names_hash == hash_names(names)) & (c.status == "valid")
            check_rate(
                connection, limits.certificates, self._authority, (where, c.created_at), "certificates for these names"
            )

    def _insert(
        self,
        connection: sa.Connection,
        account: Account,
        names: Sequence[Identifier],
        proofs: Sequence[Authorization],
        profile: str,
        span: tuple[datetime | None, datetime | None],
        replaces: str,
    ) -> Order:
        now = self._authority.clock().replace(microsecond=0)
        order = Order(
            id=make_id(),
            account_id=account.id,
            status="pending",
            identifiers=[[name.kind, name.value] for name in names],
            names_hash=hash_names(names),
            authorizations=[one.id for one in proofs],
            profile=profile,
            not_before=span[0],
            not_after=span[1],
            expires=now + timedelta(seconds=self._settings.order_lifetime_s),
            error=None,
            certificate="",
            replaces=replaces,
            created_at=now,
        )
        _INSERT.change(connection, write_row(order))
        return order

    def _answer(self, ask: Ask, order: Order, proofs: Sequence[Authorization], status: int = 200) -> Reply:
        url = ask.url(f"/order/{order.id}")
        counts_as = read_order_status(order, proofs, self._authority.clock())
        document: dict[str, Any] = {
            "status": counts_as,
            "expires": order.expires.strftime(_TIME),
            "identifiers": [name.document for name in order.names],
            "authorizations": [ask.url(f"/authz/{one}") for one in order.authorizations],
            "finalize": f"{url}/finalize",
            "profile": order.profile,
        }
        for key, time in (("notBefore", order.not_before), ("notAfter", order.not_after)):
            if time is not None:
                document[key] = time.strftime(_TIME)
        if order.replaces:
            document["replaces"] = order.replaces
        if order.certificate:
            document["certificate"] = ask.url(f"/cert/{order.certificate}")
        error = order.error or next((read_error(one) for one in proofs if one.status == "invalid"), None)
        if counts_as == "invalid" and error:
            document["error"] = dict(error)
        return Reply(status, document, {"Location": url})


def get_order(rows: View, account: Account, order_id: str) -> Order:
    """An account's order. Raises Problem."""
    order = rows.find_order(order_id)
    if order is None:
        raise missing("order")
    if order.account_id != account.id:
        raise unauthorized("this order is another account's")
    return order


def build_names(names: Sequence[Identifier]) -> Names:
    """Identifiers as the CA's names."""
    return Names(
        dns=tuple(name.value for name in names if name.kind == "dns"),
        ip=tuple(name.value for name in names if name.kind == "ip"),
    )


def _read_names(content: Any, settings: AcmeSettings) -> tuple[Identifier, ...]:
    if not isinstance(content, list) or not 0 < len(content) <= MOST_NAMES:
        raise malformed(f"identifiers is a list of 1 to {MOST_NAMES} identifiers")
    names = tuple(dict.fromkeys(_read_name(one) for one in content))
    for name in names:
        if not offer(name.kind, wildcard=name.value.startswith("*."), settings=settings.validation):
            raise _reject(name, "this server has no challenge that could prove this name")
    return names


def _read_name(content: Any) -> Identifier:
    if not isinstance(content, dict) or not all(isinstance(content.get(key), str) for key in ("type", "value")):
        raise malformed("an identifier has a type and a value")
    kind, value = content["type"], content["value"]
    if kind not in ("dns", "ip"):
        raise Problem("unsupportedIdentifier", "identifiers are of type dns or ip")
    try:
        name = (parse_dns if kind == "dns" else parse_ip)(value)
    except NameRefused as error:
        raise Problem("rejectedIdentifier", str(error), 400) from error
    if kind == "ip" and name != value:
        raise malformed("an address is written as RFC 5952 says")
    return Identifier(kind, name)


def _read_time(fields: Mapping[str, Any], key: str) -> datetime | None:
    value = fields.get(key)
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise malformed(f"{key} is a time as in RFC 3339") from error
    if time.tzinfo is None:
        raise malformed(f"{key} is a time with its offset, as in RFC 3339")
    try:
        return time.astimezone(UTC).replace(microsecond=0)
    except OverflowError as error:
        raise malformed(f"{key} is not a time a certificate can have") from error


def _check_span(not_before: datetime | None, not_after: datetime | None, now: datetime) -> None:
    if not_before is not None and not_before > now + MOST_AHEAD:
        raise malformed(f"notBefore is within {MOST_AHEAD.days} days")
    if not_before is not None and not_after is not None and not_after <= not_before:
        raise malformed("notAfter is not after notBefore")


def _reject(name: Identifier, detail: str) -> Problem:
    return Problem("rejectedIdentifier", detail, identifier=name.document)
