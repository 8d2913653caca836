# SPDX-License-Identifier: Apache-2.0
"""Problem documents (RFC 8555 section 6.7) as errors, each with what the operator can do."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import josepy
from acme import messages

from ottr.errors import AcmeProblem, IssuanceError, IssuerUnavailable, RateLimited

UNNAMED_BACKOFF = timedelta(minutes=10)
"""For a CA that says "too many" without saying until when."""

_PREFIX = messages.ERROR_PREFIX
_TEXT_CHARACTERS = 300

_HINTS = {
    "accountDoesNotExist": "the CA does not know this account (any more): remove account.json of this issuer in the"
    " accounts folder of the state folder, and the next run registers the same key again",
    "alreadyRevoked": "nothing to do: the certificate is revoked",
    "badCSR": "the CA refuses the key or the names of the request: compare key_type and the names with what it allows",
    "badPublicKey": "the CA refuses this kind of key: choose another key_type in the route",
    "badRevocationReason": "choose another reason; CAs allow only some of them",
    "badSignatureAlgorithm": "the CA does not take ES256 account keys: it cannot be used",
    "caa": "a CAA record forbids this CA to issue for the name: add the CA to it, or choose another issuer",
    "compound": "see the problem of each name",
    "connection": "the CA could not reach the name servers of the name: check them from outside",
    "dns": "the CA could not look up the TXT record: check the zone's delegation and its name servers from outside",
    "dnssec": "the zone's DNSSEC signatures do not validate: repair the zone",
    "externalAccountRequired": "get a key id and an HMAC key from the CA and set them as external_account of the issuer"
    " in ottr.yaml",
    "incorrectResponse": "the CA saw another TXT value: look for a name server or a cache that lags behind",
    "invalidContact": "correct contact of the issuer in ottr.yaml: mailto: URLs the CA accepts",
    "invalidProfile": "choose a profile the CA offers, or none",
    "malformed": "the CA did not understand the request; if it goes on, report it with this message",
    "rateLimited": RateLimited.default_hint,
    "rejectedIdentifier": "the CA does not issue for this name: check the name, or choose another issuer",
    "serverInternal": IssuerUnavailable.default_hint,
    "tls": "the CA could not make a TLS connection: check the server from outside",
    "unauthorized": "the CA refuses: the account may be deactivated or not allowed this name or profile, or the TXT"
    " value was not what it expected; its own words say which",
    "unknownHost": "the name does not exist in public DNS: check it, and its zone's delegation",
    "unsupportedContact": "contact of the issuer in ottr.yaml must be mailto: URLs",
    "unsupportedIdentifier": "the CA does not issue for this kind of name: choose another issuer",
    "userActionRequired": "the CA waits for its customer: open the page it names, mostly new terms of service",
}
_DEFAULT_HINT = "the words are the CA's own; its documentation explains them"


def code_of(type: str) -> str:
    """Return the last part of a problem type: ``badNonce`` of ``urn:ietf:params:acme:error:badNonce``."""
    return type.rpartition(":")[2]


def hint_for(type: str) -> str:
    """Return what an operator can do about a problem type."""
    return _HINTS.get(code_of(type), _DEFAULT_HINT)


def parse_problem(body: bytes) -> messages.Error:
    """Read a problem document; whatever is not one becomes a problem whose detail is its beginning."""
    try:
        return decode_problem(json.loads(body))
    except ValueError:
        return decode_problem({"detail": _shorten(body.decode(errors="replace"))})


def decode_problem(jobj: Any) -> messages.Error:
    """Decode the problem inside an order or a challenge; never fails, since it is what explains a failure."""
    try:
        problem: messages.Error = messages.Error.from_json(jobj)
    except (josepy.errors.DeserializationError, TypeError, AttributeError):
        problem = messages.Error.from_json({"detail": _shorten(json.dumps(jobj))})
    return problem


def describe(problem: messages.Error) -> str:
    """Put a problem into one line: its words, then its kind, then those of its parts."""
    words = str(problem.detail or problem.title or "no reason given")
    own = f"{words} ({code_of(str(problem.typ))})"
    return "; ".join([own, *_describe_parts(problem)])


def build_error(problem: messages.Error, *, what: str, status: int, now: datetime) -> IssuanceError:
    """Turn a problem into the error whose class says what a caller can do about it.

    ``what`` begins the message; ``status`` is the HTTP status, 0 for a problem inside a resource.
    """
    message = f"{what}: {describe(problem)}"
    code = code_of(str(problem.typ))
    if status == 429 or code == "rateLimited":
        return RateLimited(message, retry_at=now + UNNAMED_BACKOFF)
    if status >= 500 or code == "serverInternal":
        return IssuerUnavailable(message)
    return AcmeProblem(
        message,
        hint=hint_for(code),
        type=str(problem.typ),
        status=status,
        subproblems=tuple(_describe_parts(problem)),
    )


def build_own(code: str, message: str, *, hint: str = "") -> AcmeProblem:
    """Build the problem that the CA would answer with, before asking it."""
    return AcmeProblem(message, hint=hint or hint_for(code), type=_PREFIX + code)


def _describe_parts(problem: messages.Error) -> list[str]:
    return [_describe_part(part) for part in problem.subproblems or ()]


def _describe_part(part: messages.Error) -> str:
    name = f"{part.identifier.value}: " if part.identifier else ""
    return name + describe(part)


def _shorten(text: str) -> str:
    return " ".join(text.split())[:_TEXT_CHARACTERS] or "an empty answer"
