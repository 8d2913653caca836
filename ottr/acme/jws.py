# SPDX-License-Identifier: Apache-2.0
"""Flattened JWS by an ES256 key, as RFC 8555 section 6.2 wants it.

The keys, the algorithm and base64url are josepy's; its header object is not used, since it takes a nonce apart and
puts it together again, where the CA wants back the very same text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from josepy import b64, jwa, jwk


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs: an account by its URL, or, before there is one, the bare key (RFC 8555 section 6.2)."""

    key: jwk.JWKEC
    account_url: str = ""
    thumbprint: str = field(init=False)
    """Of the key (RFC 7638), in base64url."""

    def __post_init__(self) -> None:
        """Every challenge asks for the thumbprint, and it costs as much as a signature."""
        object.__setattr__(self, "thumbprint", b64.b64encode(self.key.thumbprint()).decode())

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public half as a JSON Web Key (RFC 7517)."""
        return dict(self.key.public_key().to_json())

    def sign(self, payload: bytes, url: str, nonce: str = "") -> dict[str, str]:
        """Sign a payload for one URL; the inner JWS of a key change has no nonce (RFC 8555 section 7.3.5)."""
        header: dict[str, Any] = {"alg": "ES256", "url": url}
        if nonce:
            header["nonce"] = nonce
        if self.account_url:
            header["kid"] = self.account_url
        else:
            header["jwk"] = self.public_jwk
        return self._sign(header, payload)

    def _sign(self, header: Mapping[str, Any], payload: bytes) -> dict[str, str]:
        protected = b64.b64encode(json.dumps(header).encode())
        encoded = b64.b64encode(payload)
        signature = jwa.ES256.sign(self.key.key, protected + b"." + encoded)
        return {
            "protected": protected.decode(),
            "payload": encoded.decode(),
            "signature": b64.b64encode(signature).decode(),
        }
