# SPDX-License-Identifier: Apache-2.0
"""A client that makes every request by hand, well or wrong, and shows the raw replies."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.acme.exchange import Message, Reply
from ottr.ca.acme.server import AcmeServer

BASE = "https://ca.example.test/acme"
TYPE = "application/jose+json"


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def b64_json(content: Any) -> str:
    return b64(json.dumps(content).encode())


def make_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def write_jwk(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {
        "kty": "EC",
        "crv": "P-256",
        "x": b64(numbers.x.to_bytes(32, "big")),
        "y": b64(numbers.y.to_bytes(32, "big")),
    }


def hash_jwk(key: ec.EllipticCurvePrivateKey) -> str:
    return b64(hashlib.sha256(json.dumps(write_jwk(key), sort_keys=True, separators=(",", ":")).encode()).digest())


def sign(key: ec.EllipticCurvePrivateKey, text: str) -> str:
    r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def write_jws(key: ec.EllipticCurvePrivateKey, header: dict[str, Any], payload: Any) -> dict[str, str]:
    protected, body = b64_json(header), "" if payload is None else b64_json(payload)
    return {"protected": protected, "payload": body, "signature": sign(key, f"{protected}.{body}")}


def write_binding(kid: str, mac_key: bytes, url: str, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    protected, payload = b64_json({"alg": "HS256", "kid": kid, "url": url}), b64_json(write_jwk(key))
    mac = hmac.new(mac_key, f"{protected}.{payload}".encode(), hashlib.sha256).digest()
    return {"protected": protected, "payload": payload, "signature": b64(mac)}


def make_csr(*names: str, key: Any = None, extensions: tuple[tuple[Any, bool], ...] = ()) -> bytes:
    san = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(san, critical=False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key or make_key(), hashes.SHA256()).public_bytes(Encoding.DER)


@dataclass
class Client:
    """One account key. ``replies`` are kept as they came; JSON is in ``reply.document``."""

    server: AcmeServer
    key: ec.EllipticCurvePrivateKey = field(default_factory=make_key)
    kid: str = ""
    address: str = "192.0.2.7"

    def get(self, path: str) -> Reply:
        return self.server.handle(Message("GET", path, BASE))

    def nonce(self) -> str:
        return self.server.handle(Message("HEAD", "/new-nonce", BASE)).headers["Replay-Nonce"]

    def header(self, url: str, /, **changes: Any) -> dict[str, Any]:
        who = {"kid": self.kid} if self.kid else {"jwk": write_jwk(self.key)}
        header = {"alg": "ES256", "nonce": self.nonce(), "url": url, **who, **changes}
        return {name: value for name, value in header.items() if value is not None}

    def send(self, path: str, content: Any, content_type: str = TYPE) -> Reply:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        path, _, query = path.partition("?")
        return self.server.handle(Message("POST", path, BASE, body, content_type, query, self.address))

    def post(self, url: str, payload: Any = None, /, **changes: Any) -> Reply:
        url = url if url.startswith("http") else BASE + url
        return self.send(url.removeprefix(BASE), write_jws(self.key, self.header(url, **changes), payload))

    def register(self, **payload: Any) -> Client:
        reply = self.post("/new-account", payload, jwk=write_jwk(self.key), kid=None)
        assert reply.status == 201, reply.document
        self.kid = reply.headers["Location"]
        return self

    def order(self, *names: str, **fields: Any) -> Reply:
        reply = self.try_order(*names, **fields)
        assert reply.status == 201, reply.document
        return reply

    def try_order(self, *names: str, **fields: Any) -> Reply:
        identifiers = [{"type": "dns", "value": name} for name in names]
        return self.post("/new-order", {"identifiers": identifiers, **fields})

    def authorizations(self, order: Reply) -> list[dict[str, Any]]:
        return [self.post(url).document for url in order.document["authorizations"]]

    def wait(self, url: str) -> dict[str, Any]:
        """A challenge when it has been looked at: where the machine is busy the answer does not wait for that."""
        deadline = time.monotonic() + 30
        while (reply := self.post(url)).document["status"] in ("pending", "processing"):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert reply.status == 200
        return dict(reply.document)

    def challenge(self, authorization: dict[str, Any], kind: str = "dns-01") -> dict[str, Any]:
        return next(one for one in authorization["challenges"] if one["type"] == kind)

    def key_authorization(self, challenge: dict[str, Any]) -> str:
        return f"{challenge['token']}.{hash_jwk(self.key)}"

    def finalize(self, order: Reply, csr: bytes) -> Reply:
        return self.post(order.document["finalize"], {"csr": b64(csr)})
