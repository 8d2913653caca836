# SPDX-License-Identifier: Apache-2.0
"""Keys and signatures as JSON, read strictly."""

from __future__ import annotations

import base64
import json
import string
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from ottr.ca.jose import AlgorithmError, JoseError, Jws, build_jwk, decode, encode, parse_json, parse_jwk, parse_jws

EC = {"kty": "EC", "crv": "P-256"}
RSA = rsa.generate_private_key(65537, 2048).public_key()


def b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()).public_key(), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()).public_key(), "ES384"),
        (ec.generate_private_key(ec.SECP521R1()).public_key(), "ES512"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), "EdDSA"),
        (RSA, "RS256"),
    ],
)
def test_a_key_comes_back_as_it_was(key: PublicKeyTypes, algorithm: str) -> None:
    jwk = build_jwk(key)  # type: ignore[arg-type]
    again = parse_jwk({**json.loads(jwk.text), "use": "sig"})
    assert again == jwk
    assert again.algorithm == algorithm
    assert again.thumbprint == jwk.thumbprint


def test_the_thumbprint_is_that_of_rfc_7638() -> None:
    n = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3"
        "oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA"
        "ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-"
        "kEgU8awapJzKnqDKgw"
    )
    jwk = parse_jwk({"kty": "RSA", "n": n, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"})
    assert jwk.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("key", "not a JSON object"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "not a public key"),
        ({**EC, "d": "AA"}, "not a public key"),
        ({"kty": "dsa"}, "kty"),
        ({**EC, "crv": "secp256k1"}, "crv"),
        ({**EC, "crv": []}, "crv"),
        ({"kty": ["EC"]}, "kty"),
        ({**EC, "x": b64(b"1" * 31), "y": b64(b"1" * 32)}, "32 bytes"),
        ({**EC, "x": b64(b"1" * 32), "y": b64(b"1" * 33)}, "32 bytes"),
        ({**EC, "x": b64(b"1" * 32), "y": b64(b"1" * 32)}, "no point"),
        ({**EC, "x": b64(b"1" * 32)}, "y of the jwk"),
        ({"kty": "RSA", "n": b64(b"\xff" * 128), "e": "AQAB"}, "2048"),
        ({"kty": "RSA", "n": b64(b"\xff" * 1025), "e": "AQAB"}, "2048"),
        ({"kty": "RSA", "n": b64(b"\x01" + b"\xff" * 1024), "e": "AQAB"}, "2048"),
        ({"kty": "RSA", "n": b64(b"\xff" * 256), "e": b64(b"\x01" * 9)}, "exponent"),
        ({"kty": "RSA", "n": b64(b"\xff" * 256), "e": "AA"}, "no RSA key"),
        ({"kty": "OKP", "crv": "Ed448", "x": "AA"}, "Ed25519"),
        ({"kty": "OKP", "crv": "X25519", "x": b64(b"1" * 32)}, "must be Ed25519"),
        ({"kty": "OKP", "crv": "Ed25519", "x": "AA"}, "no Ed25519 key"),
    ],
)
def test_what_is_no_key(content: Any, complaint: str) -> None:
    with pytest.raises(JoseError, match=complaint):
        parse_jwk(content)


@pytest.mark.parametrize("text", ["=", "AA==", "A", "A+/A", "AB", " AA", None, 7])
def test_base64url_is_without_padding_and_canonical(text: Any) -> None:
    with pytest.raises(JoseError):
        decode(text, "it")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 32])
def test_base64url_comes_back(size: int) -> None:
    raw = (b"\xfb\xff\x00" * size)[:size]
    assert decode(encode(raw), "it") == raw


@pytest.mark.parametrize(("start", "ends"), [("A", 4), ("AA", 16), ("AAA", 64)])
def test_of_base64url_every_text_is_another_value(start: str, ends: int) -> None:
    read: dict[bytes, str] = {}
    for last in string.ascii_letters + string.digits + "-_":
        with suppress(JoseError):
            read[decode(start + last, "it")] = start + last
    assert len(read) == ends
    assert all(encode(raw) == text for raw, text in read.items())


@pytest.mark.parametrize("raw", [b'{"a": 1, "a": 2}', b"[]", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_json_is_an_object_without_doubts(raw: bytes) -> None:
    with pytest.raises(JoseError):
        parse_json(raw, "it")


def write_jws(header: dict[str, Any]) -> dict[str, str]:
    return {"protected": b64(json.dumps(header).encode()), "payload": "", "signature": ""}


@pytest.mark.parametrize("header", [{}, {"alg": 1}, {"alg": "ES256", "crit": []}, {"alg": "ES256", "b64": True}])
def test_a_header_has_an_algorithm_and_nothing_critical(header: dict[str, Any]) -> None:
    with pytest.raises(JoseError):
        parse_jws(write_jws(header))


def test_signatures_and_macs_do_not_stand_in_for_each_other() -> None:
    jwk = build_jwk(RSA)
    for algorithm in ("none", "HS256"):
        with pytest.raises(AlgorithmError):
            Jws({"alg": algorithm}, b"", b".", b"").verify(jwk)
    with pytest.raises(AlgorithmError):
        Jws({"alg": "RS256"}, b"", b".", b"").verify_mac(b"key")
    with pytest.raises(JoseError, match="signs with RS256"):
        Jws({"alg": "ES256"}, b"", b".", b"").verify(jwk)
    with pytest.raises(JoseError, match="not made with this key"):
        Jws({"alg": "RS256"}, b"", b".", b"").verify(jwk)
    with pytest.raises(JoseError, match="MAC"):
        Jws({"alg": "HS256"}, b"", b".", b"").verify_mac(b"key")


def test_the_parts_of_a_signature_have_the_size_of_the_curve() -> None:
    """RFC 7518 section 3.4: r and s with more zeros before them would be the same signature in other words."""
    key = ec.generate_private_key(ec.SECP256R1())
    parts = decode_dss_signature(key.sign(b"said", ec.ECDSA(hashes.SHA256())))
    for size in (32, 33):
        jws = Jws({"alg": "ES256"}, b"", b"said", parts[0].to_bytes(32) + parts[1].to_bytes(size))
        if size == 32:
            jws.verify(build_jwk(key.public_key()))
        else:
            with pytest.raises(JoseError, match="not made with this key"):
                jws.verify(build_jwk(key.public_key()))
