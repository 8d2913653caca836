# SPDX-License-Identifier: Apache-2.0
"""Looking at whether somebody controls a name: dns-01, http-01, tls-alpn-01, and whether CAA lets us issue.

Each look returns when it is convinced and raises a Problem that says what it saw otherwise.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from ottr.ca.acme.records import Identifier
from ottr.ca.acme.settings import ValidationSettings


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked for."""

    identifier: Identifier
    """A wildcard without its ``*.``."""
    token: str
    thumbprint: str = field(repr=False)
    """Of the account's key."""

    @property
    def key_authorization(self) -> str:
        """RFC 8555 section 8.1."""
        return f"{self.token}.{self.thumbprint}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the key authorization."""
        return hashlib.sha256(self.key_authorization.encode()).digest()


def validate(kind: str, look: Look, settings: ValidationSettings) -> None:
    """Look once. Raises Problem."""
    from ottr.ca.acme.validation import dns01, http01, tls_alpn01

    {"dns-01": dns01.validate, "http-01": http01.validate, "tls-alpn-01": tls_alpn01.validate}[kind](look, settings)


def offer(kind: str, *, wildcard: bool, settings: ValidationSettings) -> tuple[str, ...]:
    """Challenges for an identifier: a wildcard is proven in DNS alone, an address there never (RFC 8738)."""
    if wildcard:
        usable: tuple[str, ...] = ("dns-01",)
    else:
        usable = ("http-01", "tls-alpn-01") if kind == "ip" else settings.challenges
    return tuple(one for one in settings.challenges if one in usable)
