# SPDX-License-Identifier: Apache-2.0
"""JSON Web Keys and flattened JSON Web Signatures, read as strictly as RFC 8555 section 6.2 asks.

Only public keys and only what signs ACME requests: ES256/384/512, RS256, EdDSA with Ed25519, and HMAC for external
account bindings. Whatever is doubtful is refused: unknown header parameters of weight, JSON with a key twice,
base64url with padding, signatures of the wrong size.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ottr.ca.keys import PublicKey

ALGORITHMS = ("ES256", "ES384", "ES512", "EdDSA", "RS256")
"""What accounts may sign with."""
MAC_ALGORITHMS: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {"HS256": hashlib.sha256, "HS384": hashlib.sha384, "HS512": hashlib.sha512}
)
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_CURVES: Mapping[str, tuple[ec.EllipticCurve, int, str, ec.ECDSA]] = MappingProxyType(
    {
        "P-256": (ec.SECP256R1(), 32, "ES256", ec.ECDSA(hashes.SHA256())),
        "P-384": (ec.SECP384R1(), 48, "ES384", ec.ECDSA(hashes.SHA384())),
        "P-521": (ec.SECP521R1(), 66, "ES512", ec.ECDSA(hashes.SHA512())),
    }
)
_CURVE_NAMES = MappingProxyType({"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"})
_RSA_BITS = range(2048, 8193)
_MEMBERS = frozenset({"protected", "payload", "signature"})
_CANONICAL = json.JSONEncoder(separators=(",", ":"), sort_keys=True)
_URL_SAFE, _STANDARD = bytes.maketrans(b"+/", b"-_"), bytes.maketrans(b"-_", b"+/")
_LAST = {2: frozenset("AQgw"), 3: frozenset("AEIMQUYcgkosw048")}
"""How base64url can end when so many characters remain beside fours: without bits that mean nothing."""


class JoseError(ValueError):
    """Not a JWS or JWK of the accepted form; the text says why and holds nothing of what was sent."""


class AlgorithmError(JoseError):
    """An algorithm that is not accepted."""


@dataclass(frozen=True, slots=True)
class Jwk:
    """A public key as JSON (RFC 7517), canonical."""

    key: PublicKey = field(repr=False)
    members: Mapping[str, str]
    """The required members only, the form that is hashed (RFC 7638)."""
    algorithm: str
    """What it signs with."""

    @property
    def text(self) -> str:
        """Canonical JSON: members in lexical order, no spaces."""
        return _CANONICAL.encode(dict(self.members))

    @property
    def thumbprint(self) -> str:
        """SHA-256 thumbprint (RFC 7638), base64url."""
        return encode(hashlib.sha256(self.text.encode()).digest())


@dataclass(frozen=True, slots=True)
class Jws:
    """A flattened JWS, taken apart; nothing of it is true before ``verify``."""

    header: Mapping[str, Any]
    payload: bytes
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def algorithm(self) -> str:
        """The ``alg`` of the protected header."""
        return str(self.header["alg"])

    def verify(self, jwk: Jwk) -> None:
        """Raise JoseError unless the key made the signature, with its own algorithm."""
        if self.algorithm not in ALGORITHMS:
            raise AlgorithmError(f"signatures with {self.algorithm[:20]!r} are not accepted")
        if self.algorithm != jwk.algorithm:
            raise JoseError(f"this key signs with {jwk.algorithm}")
        try:
            _verify(jwk, self.signature, self.signing_input)
        except InvalidSignature as error:
            raise JoseError("the signature is not made with this key") from error

    def verify_mac(self, key: bytes) -> None:
        """Raise JoseError unless the MAC is made with the key (HS256, HS384, HS512)."""
        if self.algorithm not in MAC_ALGORITHMS:
            raise AlgorithmError("a MAC is made with " + ", ".join(MAC_ALGORITHMS))
        expected = hmac.new(key, self.signing_input, MAC_ALGORITHMS[self.algorithm]).digest()
        if not hmac.compare_digest(expected, self.signature):
            raise JoseError("the MAC is not made with this key")


def encode(raw: bytes) -> str:
    """Base64url without padding."""
    return binascii.b2a_base64(raw, newline=False).translate(_URL_SAFE).rstrip(b"=").decode()


def decode(text: Any, what: str) -> bytes:
    """Read base64url without padding, only in its canonical form. Raises JoseError."""
    if not isinstance(text, str) or not _BASE64URL.fullmatch(text) or (rest := len(text) % 4) == 1:
        raise JoseError(f"{what} is not base64url without padding")
    if rest and text[-1] not in _LAST[rest]:
        raise JoseError(f"{what} is not canonical base64url")
    return binascii.a2b_base64(text.encode().translate(_STANDARD) + b"=" * (-rest % 4))


def parse_json(raw: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object in which no key stands twice. Raises JoseError."""
    try:
        content = _DECODER.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise JoseError(f"{what} is not JSON") from error
    if not isinstance(content, dict):
        raise JoseError(f"{what} is not a JSON object")
    return content


def parse_jws(content: Any, what: str = "the request") -> Jws:
    """Take a flattened JWS apart (RFC 7515 section 7.2.2). Raises JoseError."""
    if not isinstance(content, dict) or content.keys() != _MEMBERS:
        raise JoseError(f"{what} is not a flattened JWS of protected, payload and signature alone")
    raw_header = decode(content["protected"], f"the protected header of {what}")
    header = parse_json(raw_header, f"the protected header of {what}")
    if not isinstance(header.get("alg"), str):
        raise JoseError(f"the protected header of {what} has no alg")
    if "crit" in header or "b64" in header:
        raise JoseError(f"{what} has a critical header parameter, and none is known")
    payload = decode(content["payload"], f"the payload of {what}")
    signing_input = f"{content['protected']}.{content['payload']}".encode()
    return Jws(header, payload, signing_input, decode(content["signature"], f"the signature of {what}"))


def parse_jwk(content: Any) -> Jwk:
    """Read a public key. Raises JoseError; AlgorithmError for kinds that do not sign here."""
    if not isinstance(content, dict):
        raise JoseError("the jwk is not a JSON object")
    if "d" in content or "k" in content:
        raise JoseError("the jwk is not a public key")
    readers = {"EC": _read_ec, "RSA": _read_rsa, "OKP": _read_okp}
    reader = readers.get(str(content.get("kty")))
    if reader is None:
        raise AlgorithmError("the kty of the jwk is not one of EC, OKP, RSA")
    key = reader(content)
    return build_jwk(key)


def build_jwk(key: PublicKey) -> Jwk:
    """The canonical JWK of a public key."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        curve = _CURVE_NAMES[key.curve.name]
        numbers, (_, size, algorithm, _) = key.public_numbers(), _CURVES[curve]
        x, y = (encode(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
        return Jwk(key, {"crv": curve, "kty": "EC", "x": x, "y": y}, algorithm)
    if isinstance(key, rsa.RSAPublicKey):
        rsa_numbers = key.public_numbers()
        n, e = (
            encode(number.to_bytes((number.bit_length() + 7) // 8, "big")) for number in (rsa_numbers.n, rsa_numbers.e)
        )
        return Jwk(key, {"e": e, "kty": "RSA", "n": n}, "RS256")
    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Jwk(key, {"crv": "Ed25519", "kty": "OKP", "x": encode(raw)}, "EdDSA")


def _read_ec(content: Mapping[str, Any]) -> PublicKey:
    crv = content.get("crv")
    if not isinstance(crv, str) or crv not in _CURVES:
        raise AlgorithmError("the crv of the jwk is not one of " + ", ".join(_CURVES))
    curve, size, _, _ = _CURVES[crv]
    x, y = (decode(content.get(name), f"{name} of the jwk") for name in ("x", "y"))
    if len(x) != size or len(y) != size:
        raise JoseError(f"x and y of the jwk must have {size} bytes")
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve).public_key()
    except ValueError as error:
        raise JoseError("the jwk is no point of its curve") from error


def _read_rsa(content: Mapping[str, Any]) -> PublicKey:
    n, e = (int.from_bytes(decode(content.get(name), f"{name} of the jwk"), "big") for name in ("n", "e"))
    if n.bit_length() not in _RSA_BITS or e.bit_length() > 64:
        raise JoseError("RSA keys of accounts have 2048 to 8192 bits and a usual exponent")
    try:
        return rsa.RSAPublicNumbers(e, n).public_key()
    except ValueError as error:
        raise JoseError("the jwk is no RSA key") from error


def _read_okp(content: Mapping[str, Any]) -> PublicKey:
    if content.get("crv") != "Ed25519":
        raise AlgorithmError("the crv of an OKP jwk must be Ed25519")
    try:
        return ed25519.Ed25519PublicKey.from_public_bytes(decode(content.get("x"), "x of the jwk"))
    except ValueError as error:
        raise JoseError("the jwk is no Ed25519 key") from error


def _verify(jwk: Jwk, signature: bytes, data: bytes) -> None:
    key = jwk.key
    if isinstance(key, ec.EllipticCurvePublicKey):
        _, size, _, scheme = _CURVES[jwk.members["crv"]]
        if len(signature) != 2 * size:  # RFC 7518 section 3.4: r and s, each of full size
            raise InvalidSignature
        r, s = (int.from_bytes(half, "big") for half in (signature[:size], signature[size:]))
        key.verify(encode_dss_signature(r, s), data, scheme)
    elif isinstance(key, rsa.RSAPublicKey):
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    else:
        key.verify(signature, data)


def _read_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands twice")
    return content


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_read_pairs, parse_constant=_refuse_constant)
