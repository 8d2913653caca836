# SPDX-License-Identifier: Apache-2.0
"""The least of an ACME client (RFC 8555): a P-256 account, our own JWS, connections that stay open."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import time
from typing import Any, Protocol

import urllib3
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

FIRST_POLL_S = 0.05
"""Pebble hangs for good when an order is polled at once after it was finalized (letsencrypt/pebble issue 554)."""

_TRIES = 8
_POLL_TIMEOUT_S = 120.0


class Zone(Protocol):
    """Where challenges go."""

    def present(self, name: str, value: str) -> None:
        """Add one."""

    def clean_up(self, name: str) -> None:
        """Remove it."""


class Account:
    """A new account. Usable from several threads."""

    def __init__(self, directory: str, ca_bundle: str, threads: int) -> None:
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=threads, block=True, ca_certs=ca_bundle, timeout=30)
        self._urls = json.loads(self._pool.request("GET", directory).data)
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        x, y = (_encode(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        self._who: dict[str, Any] = {"jwk": {"crv": "P-256", "kty": "EC", "x": x, "y": y}}
        self._thumbprint = _encode(hashlib.sha256(_dump(self._who["jwk"])).digest())  # RFC 7638: keys in this order
        self._nonces: list[str] = []
        answer = self._post(self._urls["newAccount"], {"termsOfServiceAgreed": True})
        self._who = {"kid": answer.headers["Location"]}

    def issue(self, name: str, csr_pem: str, zone: Zone) -> str:
        """Order a certificate for one name and return its chain in PEM, the leaf first."""
        identifiers = [{"type": "dns", "value": name}]
        placed = self._post(self._urls["newOrder"], {"identifiers": identifiers})
        order, order_url = json.loads(placed.data), placed.headers["Location"]
        for url in order["authorizations"]:
            self._authorize(name, url, zone)
        der = ssl.PEM_cert_to_DER_cert(csr_pem.replace("CERTIFICATE REQUEST", "CERTIFICATE"))
        self._post(order["finalize"], {"csr": _encode(der)})
        time.sleep(FIRST_POLL_S)
        order = self._poll(order_url)
        fullchain: bytes = self._post(order["certificate"]).data
        zone.clean_up(name)
        return fullchain.decode()

    def _authorize(self, name: str, url: str, zone: Zone) -> None:
        authorization = json.loads(self._post(url).data)
        if authorization["status"] == "valid":
            return
        [challenge] = [one for one in authorization["challenges"] if one["type"] == "dns-01"]
        answer = f"{challenge['token']}.{self._thumbprint}"
        zone.present(name, _encode(hashlib.sha256(answer.encode()).digest()))
        self._post(challenge["url"], {})
        self._poll(url)

    def _poll(self, url: str) -> dict[str, Any]:
        wait_s, deadline = 0.02, time.monotonic() + _POLL_TIMEOUT_S
        while time.monotonic() < deadline:
            found: dict[str, Any] = json.loads(self._post(url).data)
            if found["status"] == "valid":
                return found
            if found["status"] == "invalid":
                raise RuntimeError(json.dumps(found))
            time.sleep(wait_s)
            wait_s = min(wait_s * 1.5, 0.5)
        raise RuntimeError(f"{url} does not become valid")

    def _post(self, url: str, payload: dict[str, Any] | None = None) -> urllib3.BaseHTTPResponse:
        for _ in range(_TRIES):
            body = self._sign(url, payload)
            answer = self._pool.request("POST", url, body=body, headers={"Content-Type": "application/jose+json"})
            self._nonces.append(answer.headers["Replay-Nonce"])
            if answer.status < 400:
                return answer
            if b"badNonce" not in answer.data:
                break
        raise RuntimeError(answer.data.decode())

    def _sign(self, url: str, payload: dict[str, Any] | None) -> bytes:
        """A flattened JWS (RFC 7515) with ES256; None is POST-as-GET."""
        protected = _encode(_dump({"alg": "ES256", "nonce": self._take_nonce(), "url": url, **self._who}))
        content = "" if payload is None else _encode(_dump(payload))
        r, s = decode_dss_signature(self._key.sign(f"{protected}.{content}".encode(), ec.ECDSA(SHA256())))
        signature = _encode(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return _dump({"protected": protected, "payload": content, "signature": signature})

    def _take_nonce(self) -> str:
        try:
            return self._nonces.pop()
        except IndexError:
            return self._pool.request("HEAD", self._urls["newNonce"]).headers["Replay-Nonce"]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
