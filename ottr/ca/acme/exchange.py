# SPDX-License-Identifier: Apache-2.0
"""One request: from bytes to a verified asker and payload (RFC 8555 section 6), and the reply."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

from ottr.ca import jose
from ottr.ca.acme.memory import View
from ottr.ca.acme.nonces import Nonces
from ottr.ca.acme.problems import Problem, malformed, unauthorized
from ottr.ca.acme.records import Account
from ottr.ca.jose import AlgorithmError, JoseError, Jwk, Jws

JOSE_TYPE = "application/jose+json"
MOST_BYTES = 128 * 1024
_ENCODER = json.JSONEncoder(separators=(",", ":"))
_HEADER = frozenset({"alg", "nonce", "url", "jwk", "kid", "typ", "cty"})


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it came in."""

    method: str
    path: str
    """Below the server's prefix, such as ``/new-order``; still percent-encoded."""
    base: str
    """URL of the server as the client sees it, without a slash at the end."""
    body: bytes = b""
    content_type: str = ""
    query: str = ""
    address: str = ""
    """Of the client."""

    @property
    def url(self) -> str:
        """What was asked for."""
        return f"{self.base}{self.path}" + (f"?{self.query}" if self.query else "")


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back."""

    status: int = 200
    document: Any = None
    """JSON; None: ``body``."""
    headers: Mapping[str, str] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    """Values of Link headers."""
    body: bytes = b""
    content_type: str = "application/json"

    @property
    def content(self) -> bytes:
        """The bytes of the body."""
        return self.body if self.document is None else _ENCODER.encode(self.document).encode()


@dataclass(frozen=True, slots=True)
class Later:
    """A reply that waits a while for what runs elsewhere, and is made then, however far that has come."""

    work: Future[None] | None
    """None: nothing runs; it only cannot be made here, where nobody may wait."""
    finish: Callable[[], Reply]
    """Raises Problem, AuthorityError."""
    most_s: float
    again: Callable[[], Reply | Later] | None = None
    """For who may not wait, instead of ``finish``, when the work is done."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request whose signature, URL and nonce are good."""

    message: Message
    jws: Jws = field(repr=False)
    payload: Mapping[str, Any] | None
    """None: POST-as-GET, an empty payload."""
    jwk: Jwk
    """The key that signed."""
    account: Account | None
    """None: the request carried its key."""
    rows: View = field(repr=False)
    waits: bool = True
    """Whether answering it may wait for others that write."""

    @property
    def owner(self) -> Account:
        """The account of a request that was only let in with one."""
        return cast("Account", self.account)

    @property
    def fields(self) -> Mapping[str, Any]:
        """The payload of a request that must have one."""
        if self.payload is None:
            raise malformed("the payload is empty")
        return self.payload

    def read_only(self) -> None:
        """Refuse a payload where only POST-as-GET is meant."""
        if self.payload is not None:
            raise malformed("this is read with POST-as-GET: an empty payload")

    def url(self, path: str) -> str:
        """A URL of the server."""
        return self.message.base + path


def read_ask(message: Message, nonces: Nonces, rows: View, *, with_key: bool | None, waits: bool = True) -> Ask:
    """Verify a POST. ``with_key``: True: signed with jwk, False: with kid, None: either. Raises Problem."""
    if message.content_type.split(";")[0].strip().lower() != JOSE_TYPE:
        raise malformed(f"requests have the type {JOSE_TYPE}", 415)
    try:
        jws = jose.parse_jws(jose.parse_json(message.body, "the request"))
        nonce = _check_header(jws.header, message, nonces)
        jwk, account = _find_key(jws.header, message, rows, with_key)
        jws.verify(jwk)
        payload = jose.parse_json(jws.payload, "the payload") if jws.payload else None
    except AlgorithmError as error:
        raise Problem("badSignatureAlgorithm", str(error), algorithms=jose.ALGORITHMS) from error
    except JoseError as error:
        raise malformed(str(error)) from error
    if account is not None and account.status != "valid":
        raise unauthorized(f"the account is {account.status}")
    if not nonces.use(nonce):
        raise _bad_nonce()
    return Ask(message, jws, payload, jwk, account, rows, waits)


def _check_header(header: Mapping[str, Any], message: Message, nonces: Nonces) -> bytes:
    """Check it, and return what the nonce stands for."""
    if not header.keys() <= _HEADER:
        raise JoseError("the protected header has parameters that are not known")
    if ("jwk" in header) == ("kid" in header):
        raise JoseError("the protected header has either jwk or kid")
    if header["alg"] not in jose.ALGORITHMS:
        raise AlgorithmError(f"signatures with {header['alg'][:20]!r} are not accepted")
    if header.get("url") != message.url:
        raise unauthorized("the url of the protected header is not the URL of the request")
    if not isinstance(header.get("nonce"), str):
        raise JoseError("the protected header has no nonce")
    nonce = nonces.read(header["nonce"])
    if nonce is None:
        raise _bad_nonce()
    return nonce


def _find_key(
    header: Mapping[str, Any], message: Message, rows: View, with_key: bool | None
) -> tuple[Jwk, Account | None]:
    if "jwk" in header:
        if with_key is False:
            raise JoseError("this request is signed by an account: kid, not jwk")
        return jose.parse_jwk(header["jwk"]), None
    if with_key:
        raise JoseError("this request carries its key: jwk, not kid")
    prefix, kid = f"{message.base}/acct/", header["kid"]
    account = None
    if isinstance(kid, str) and kid.startswith(prefix):
        account = rows.find_account(kid.removeprefix(prefix))
    if account is None:
        raise Problem("accountDoesNotExist", "there is no account with this kid")
    return _read_jwk(account.jwk), account


@lru_cache(maxsize=256)
def _read_jwk(text: str) -> Jwk:
    """The key of an account, as stored."""
    return jose.parse_jwk(json.loads(text))


def _bad_nonce() -> Problem:
    return Problem("badNonce", "the nonce is not one of this server, too old, or used; take the new one")
