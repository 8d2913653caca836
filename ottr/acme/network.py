# SPDX-License-Identifier: Apache-2.0
"""Requests to an ACME server (RFC 8555 section 6): signed, with nonces, with its refusals turned into errors."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from ottr.acme.jws import Signer
from ottr.acme.patience import Patience, parse_retry_after
from ottr.acme.problem import build_error, describe, parse_problem
from ottr.errors import AcmeProblem, IssuerUnavailable
from ottr.transports.http import HttpClient, HttpError, HttpResponse

logger = logging.getLogger(__name__)

NONCE_TRIES = 30
"""At a CA that refuses every second nonce, one request in 10^9 fails."""
NONCES_KEPT = 100
CLOCK_SKEW = timedelta(hours=1)
"""CAs date certificates back by this much for the sake of clocks that are slow; so may ours be."""


class Network:
    """One ACME server for all threads: they share its connections and its nonces."""

    def __init__(self, http: HttpClient) -> None:
        self._http = http
        self._nonces: deque[str] = deque(maxlen=NONCES_KEPT)
        self._dated = ("", 0.0)
        """Date of the last answer (RFC 9110 section 6.6.1), and when it came by the monotonic clock."""

    def get(self, url: str, patience: Patience) -> HttpResponse:
        """GET a resource that needs no account. Raises IssuanceError."""
        return _until_served(lambda: self._repeat(lambda: self._send("GET", url)), "GET", url, patience)

    def post(
        self,
        url: str,
        payload: bytes,
        *,
        signer: Signer,
        new_nonce_url: str,
        patience: Patience,
        accept: str = "application/json",
        repeatable: bool = False,
    ) -> HttpResponse:
        """POST a signed payload; ``b""`` is POST-as-GET (RFC 8555 section 6.3). Raises IssuanceError.

        ``repeatable``: the request may be sent again when a connection broke before the answer came, since it
        changes nothing that a first one may have changed already.
        """

        def take_nonce() -> str:
            return self._take_nonce(new_nonce_url, patience)

        def send() -> HttpResponse:
            return self._send_signed(url, payload, signer, accept, take_nonce)

        attempt = (lambda: self._repeat(send)) if repeatable else send
        return _until_served(attempt, "POST", url, patience)

    def check_clock(self, url: str, patience: Patience) -> None:
        """Compare this machine's clock with the CA's last answer, and if need be with one to a GET of ``url``.

        With a clock that is far off, a good certificate would look as if it were not valid yet, or due again at once:
        each run would order one more. The last answer alone may mislead: the monotonic clock stands still while a
        machine is suspended. Raises IssuanceError.
        """
        if abs(self._skew(patience.clock())) <= CLOCK_SKEW:
            return
        self.get(url, patience)
        skew = self._skew(patience.clock())
        if abs(skew) > CLOCK_SKEW:
            side = "ahead of" if skew > timedelta() else "behind"
            raise IssuerUnavailable(
                f"this machine's clock is {_describe(abs(skew))} {side} the CA's: nothing is ordered",
                hint="set the clock that is wrong (NTP); the next run goes on with the same key, CSR and order",
            )

    def _skew(self, now: datetime) -> timedelta:
        """How far this machine's clock is ahead of the CA's; nothing where the CA's answer does not say."""
        date, came_at = self._dated
        try:
            theirs = parsedate_to_datetime(date)
            return now - theirs.replace(tzinfo=theirs.tzinfo or UTC) - timedelta(seconds=time.monotonic() - came_at)
        except (ValueError, OverflowError):
            return timedelta()

    def _send_signed(
        self, url: str, payload: bytes, signer: Signer, accept: str, take_nonce: Callable[[], str]
    ) -> HttpResponse:
        headers = {"Content-Type": "application/jose+json", "Accept": accept}
        nonce = take_nonce()
        for _ in range(NONCE_TRIES):
            body = json.dumps(signer.sign(payload, url, nonce)).encode()
            response = self._send("POST", url, body, headers)
            fresh = response.headers.get("Replay-Nonce", "")
            if not _is_bad_nonce(response):
                self._keep_nonce(fresh)
                return response
            self._nonces.clear()  # they are as old as the one just refused
            nonce = fresh or take_nonce()
        raise IssuerUnavailable(f"POST {_shown(url)}: the CA refused {NONCE_TRIES} nonces in a row")

    def _take_nonce(self, new_nonce_url: str, patience: Patience) -> str:
        with contextlib.suppress(IndexError):
            return self._nonces.pop()
        send = partial(self._repeat, partial(self._send, "HEAD", new_nonce_url))
        response = _until_served(send, "HEAD", new_nonce_url, patience)
        nonce = response.headers.get("Replay-Nonce", "")
        if not nonce:
            raise IssuerUnavailable(f"HEAD {_shown(new_nonce_url)}: no nonce in the answer")
        return nonce

    def _keep_nonce(self, nonce: str) -> None:
        if nonce:
            self._nonces.append(nonce)

    def _send(
        self, method: str, url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HttpResponse:
        response = self._http.request(method, url, body=body, headers=headers)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s %s: %d", method, _shown(url), response.status)
        if "Age" not in response.headers:  # else it is a cache's, as old as it says
            self._dated = response.headers.get("Date", ""), time.monotonic()
        return response

    @staticmethod
    def _repeat(send: Callable[[], HttpResponse]) -> HttpResponse:
        """Send once more when the connection broke: a kept one may have been closed by the server meanwhile."""
        try:
            return send()
        except HttpError as error:
            if error.untrusted:
                raise
            logger.debug("sending again: %s", error)
            return send()


def parse_json(response: HttpResponse, what: str) -> dict[str, Any]:
    """Read the JSON object of an answer. Raises AcmeProblem."""
    try:
        jobj = json.loads(response.body)
    except ValueError as error:
        raise AcmeProblem(f"{what} is not JSON", hint="check the directory URL of the issuer") from error
    if not isinstance(jobj, dict):
        raise AcmeProblem(f"{what} is not a JSON object", hint="check the directory URL of the issuer")
    return jobj


def _until_served(send: Callable[[], HttpResponse], method: str, url: str, patience: Patience) -> HttpResponse:
    """Send until the CA does not ask for a pause; return its answer or raise what it means."""
    while True:
        try:
            response = send()
        except HttpError as error:
            raise _unreachable(error) from error
        if 200 <= response.status < 300:
            return response
        what, problem = f"{method} {_shown(url)}", parse_problem(response.body)
        pause_s = parse_retry_after(response.headers, patience.clock()) if response.status in (429, 503) else None
        if pause_s is None:
            raise build_error(problem, what=f"{what} ({response.status})", status=response.status, now=patience.clock())
        logger.info("%s: %s; waiting %g s as asked", what, describe(problem), pause_s)
        patience.obey(pause_s, f"{what} ({response.status}): {describe(problem)}")


def _unreachable(error: HttpError) -> IssuerUnavailable:
    hint = "set ca_bundle of the issuer to the roots that sign the directory's own TLS certificate"
    return IssuerUnavailable(str(error), hint=hint if error.untrusted else "")


def _is_bad_nonce(response: HttpResponse) -> bool:
    return response.status == 400 and b"error:badNonce" in response.body


def _describe(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 1 else f"{span.total_seconds() / 3600:.1f} hours"


def _shown(url: str) -> str:
    """Leave out what an error must not show: the query and any login."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
