# SPDX-License-Identifier: Apache-2.0
"""The ACME server without a socket: a message in, a reply out."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from typing import Any, cast

from ottr.ca.acme import schema
from ottr.ca.acme.accounts import Accounts
from ottr.ca.acme.authorizations import Authorizations
from ottr.ca.acme.disk import Disk
from ottr.ca.acme.downloads import Downloads
from ottr.ca.acme.exchange import MOST_BYTES, Ask, Later, Message, Reply, read_ask
from ottr.ca.acme.finalize import Finalizing
from ottr.ca.acme.memory import Memory
from ottr.ca.acme.nonces import Nonces
from ottr.ca.acme.orders import Orders
from ottr.ca.acme.problems import Problem, malformed, missing
from ottr.ca.acme.renewal_info import RenewalInfo
from ottr.ca.acme.settings import AcmeSettings, read_acme_settings
from ottr.ca.authority import Authority
from ottr.ca.jose import AlgorithmError, JoseError
from ottr.ca.writer import Busy
from ottr.errors import AuthorityError

_LOG = logging.getLogger(__name__)
_PROBLEM_TYPE = "application/problem+json"
_ENDPOINTS = (
    ("newNonce", "/new-nonce"),
    ("newAccount", "/new-account"),
    ("newOrder", "/new-order"),
    ("revokeCert", "/revoke-cert"),
    ("keyChange", "/key-change"),
    ("renewalInfo", "/renewal-info"),
)
_THREADS = 32
"""That wait for the database, and for DNS to say what CAA does."""
_SHORT = 4096
"""Bytes of an order for a few names, and of its CSR."""
_DISK_S = 5.0
"""How long the event loop waits for the disk; after that a thread does."""
_EMPTY = re.compile(rb'"payload"\s*:\s*""')
"""POST-as-GET. A body in which this stands and that has a payload all the same is no JWS."""
Handler = Callable[..., Reply | Later]


class AcmeServer:
    """Answers ACME requests for one CA. Safe for threads. Call ``close`` at the end."""

    def __init__(self, authority: Authority, settings: AcmeSettings | None = None) -> None:
        self._authority = authority
        self.settings = settings or read_acme_settings(authority.settings)
        authority.database.ensure("acme", schema.VERSION, schema.metadata)
        self._nonces = Nonces(authority.clock)
        self._accounts = Accounts(authority, self.settings)
        self._memory = Memory(authority.database)
        self._disk = Disk()
        self._authorized = Authorizations(authority, self.settings, self._memory, self._disk)
        self._orders = Orders(authority, self.settings, self._memory, self._accounts, self._authorized)
        self._finalizing = Finalizing(authority, self.settings, self._memory, self._accounts, self._disk)
        self._downloads = Downloads(authority)
        self._renewal_info = RenewalInfo(authority, self.settings)
        # First part of the path and number of parts after it; True: signed with jwk, False: kid, None: either.
        self._routes: dict[tuple[str, int], tuple[Handler, bool | None]] = {
            ("new-account", 0): (self._accounts.create, True),
            ("new-order", 0): (self._orders.create, False),
            ("key-change", 0): (self._accounts.roll, False),
            ("revoke-cert", 0): (self._downloads.revoke, None),
            ("acct", 1): (self._accounts.change, False),
            ("acct", 2): (self._list_orders, False),
            ("order", 1): (self._orders.read, False),
            ("order", 2): (self._finalize, False),
            ("authz", 1): (self._authorized.read, False),
            ("chall", 2): (self._authorized.read_challenge, False),
            ("cert", 2): (self._downloads.read, False),
            ("cert", 3): (self._downloads.read, False),
        }
        self._authorized.resume()

    def close(self) -> None:
        """End what runs in the background."""
        self._authorized.close()
        self._disk.close()

    def handle(self, message: Message) -> Reply:
        """Answer; whatever is wrong is a problem document. Every reply has a fresh nonce and the directory's link."""
        begun = self._begin(message, waits=True)
        if isinstance(begun, Reply):
            return begun
        wait([cast("Future[None]", begun.work)], begun.most_s)  # without one only who may not wait is put off
        return self.end(message, begun)

    def begin(self, message: Message) -> Reply | Later:
        """The same for who can do something else meanwhile: what comes later is given to ``end`` then."""
        return self._begin(message, waits=False)

    def _begin(self, message: Message, *, waits: bool) -> Reply | Later:
        message = self._place(message)
        return self._dress(message, lambda: self._answer(message, waits=waits))

    def end(self, message: Message, later: Later) -> Reply:
        """The reply that was to wait."""
        return cast("Reply", self._dress(self._place(message), later.finish))

    def resume(self, message: Message, later: Later) -> Reply | Later:
        """The same for who may not wait, when the work is done."""
        return self._dress(self._place(message), later.again or later.finish)

    def _place(self, message: Message) -> Message:
        """The request as if it had come to the address that is configured."""
        url = self.settings.url
        return replace(message, base=url) if url and message.base != url else message

    def _dress(self, message: Message, answer: Callable[[], Reply | Later]) -> Reply | Later:
        try:
            reply = answer()
        except Problem as problem:
            reply = _write_problem(problem)
        except JoseError as error:
            reply = _write_problem(_translate(error))
        except AuthorityError as error:
            _LOG.error("%s %s: %s", message.method, message.path, error)
            reply = _write_problem(Problem("serverInternal", "the CA cannot do this now; try again later", 503))
        if isinstance(reply, Later):
            return reply
        headers = {"Cache-Control": "no-store", **reply.headers}
        if message.method != "GET" or message.path == "/new-nonce":
            headers["Replay-Nonce"] = self._nonces.give()
        links = (*reply.links, f'<{message.base}/directory>;rel="index"')
        return Reply(reply.status, reply.document, headers, links, reply.body, reply.content_type)

    def count_threads(self) -> int:
        """To work in. Where nothing is waited for but the one writer of a file, more would be in each other's way."""
        return 2 if self._authority.database.is_local and not self.settings.validation.caa else _THREADS

    def is_quick(self, message: Message) -> bool:
        """Whether to begin it reads and writes a few rows of a file, signs at most, and no more: not worth a thread."""
        if not self._authority.database.is_local or message.path.endswith("/orders"):
            return False
        if message.method != "POST" or message.path.startswith("/chall/"):
            return True
        if message.path == "/new-order" or message.path.endswith("/finalize"):
            return len(message.body) <= _SHORT
        return _EMPTY.search(message.body) is not None

    def _answer(self, message: Message, *, waits: bool) -> Reply | Later:
        if message.method in ("GET", "HEAD"):
            return self._get(message)
        if message.method != "POST":
            raise malformed("this server knows GET, HEAD and POST", 405)
        if len(message.body) > MOST_BYTES:
            raise malformed(f"a request has {MOST_BYTES} bytes at most", 413)
        first, *rest = message.path.strip("/").split("/")
        if (first, len(rest)) not in self._routes:
            raise malformed("there is nothing at this URL", 405 if self._can_get(message.path) else 404)
        handler, with_key = self._routes[first, len(rest)]
        with self._memory.look() as rows:
            ask = read_ask(message, self._nonces, rows, with_key=with_key, waits=waits)
        return self._attempt(handler, ask, rest)

    def _attempt(self, handler: Handler, ask: Ask, rest: Sequence[str]) -> Reply | Later:
        """With a nonce that is used by now: what has to wait goes on from here."""
        try:
            return handler(ask, *rest)
        except Busy:
            wait = cast("Callable[[], Reply]", lambda: handler(replace(ask, waits=True), *rest))
            return Later(self._disk.join(), wait, _DISK_S, lambda: self._attempt(handler, ask, rest))

    def _get(self, message: Message) -> Reply:
        if message.path == "/directory":
            return Reply(200, self._write_directory(message))
        if message.path == "/new-nonce":
            return Reply(200 if message.method == "HEAD" else 204)
        if message.path.startswith("/renewal-info/"):
            return self._renewal_info.read(message.path.removeprefix("/renewal-info/"))
        first, *rest = message.path.strip("/").split("/")
        if (first, len(rest)) in self._routes:
            raise malformed("this is read with POST-as-GET", 405)
        raise missing("page")

    def _can_get(self, path: str) -> bool:
        return path in ("/directory", "/new-nonce") or path.startswith("/renewal-info/")

    def _write_directory(self, message: Message) -> dict[str, Any]:
        document: dict[str, Any] = {name: message.base + path for name, path in _ENDPOINTS}
        meta: dict[str, Any] = {"profiles": dict(self.settings.profiles)}
        if self.settings.terms_of_service:
            meta["termsOfService"] = self.settings.terms_of_service
        if self.settings.website:
            meta["website"] = self.settings.website
        if self.settings.validation.caa_identities:
            meta["caaIdentities"] = list(self.settings.validation.caa_identities)
        if self.settings.eab_required:
            meta["externalAccountRequired"] = True
        return {**document, "meta": meta}

    def _list_orders(self, ask: Ask, account_id: str, what: str) -> Reply:
        if what != "orders":
            raise missing("page")
        return self._orders.list(ask, account_id, ask.message.query.removeprefix("cursor="))

    def _finalize(self, ask: Ask, order_id: str, what: str) -> Reply | Later:
        if what != "finalize":
            raise missing("page")
        if not ask.waits:
            order, work = self._finalizing.begin(ask, order_id)

            def show() -> Reply:
                work.result()  # if it is not done by then, this is a thread
                return self._orders.show(ask, order)

            return Later(work, show, _DISK_S)
        return self._orders.show(ask, self._finalizing.finalize(ask, order_id))


def _write_problem(problem: Problem) -> Reply:
    return Reply(problem.status, problem.document, problem.headers, content_type=_PROBLEM_TYPE)


def _translate(error: JoseError) -> Problem:
    """What is wrong with a JWS inside a payload."""
    if isinstance(error, AlgorithmError):
        return Problem("badSignatureAlgorithm", str(error))
    return malformed(str(error))
