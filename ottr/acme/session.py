# SPDX-License-Identifier: Apache-2.0
"""What one piece of work with a CA needs at every request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ottr.acme.directory import Directory
from ottr.acme.jws import Signer
from ottr.acme.network import Network, parse_json
from ottr.acme.patience import Patience, parse_retry_after
from ottr.transports.http import HttpResponse

POLL_FIRST_S = 0.03
POLL_GROWTH = 1.5
POLL_LONGEST_S = 2.0


@dataclass(frozen=True, slots=True)
class Session:
    """An account at a CA, and how long this work may take."""

    network: Network
    directory: Directory
    signer: Signer
    patience: Patience

    def post(self, url: str, payload: bytes, *, repeatable: bool = False) -> HttpResponse:
        """POST by the account. Raises IssuanceError."""
        return self.network.post(
            url,
            payload,
            signer=self.signer,
            new_nonce_url=self.directory.new_nonce,
            patience=self.patience,
            repeatable=repeatable,
        )

    def fetch(self, url: str, *, accept: str = "application/json") -> HttpResponse:
        """POST-as-GET (RFC 8555 section 6.3). Raises IssuanceError."""
        return self.network.post(
            url,
            b"",
            signer=self.signer,
            new_nonce_url=self.directory.new_nonce,
            patience=self.patience,
            accept=accept,
            repeatable=True,
        )

    def poll(self, url: str, waiting: frozenset[str], what: str) -> dict[str, Any]:
        """Look at a resource, less and less often, until its status is none of ``waiting``.

        Raises IssuanceError: IssuerUnavailable when it takes too long, RateLimited when the CA asks for more than
        a minute between two looks.
        """
        step_s = POLL_FIRST_S
        while True:
            response = self.fetch(url)
            jobj = parse_json(response, what)
            if jobj.get("status") not in waiting:
                return jobj
            self.wait_as_told(response, step_s, f"{what} is {jobj['status']}")
            step_s = min(step_s * POLL_GROWTH, POLL_LONGEST_S)

    def wait_as_told(self, response: HttpResponse, otherwise_s: float, what: str) -> None:
        """Wait for what Retry-After says, or for ``otherwise_s`` when it says nothing."""
        told_s = parse_retry_after(response.headers, self.patience.clock())
        if told_s:
            self.patience.obey(told_s, what)
        else:
            self.patience.pause(otherwise_s, what)
