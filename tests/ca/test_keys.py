# SPDX-License-Identifier: Apache-2.0
"""Keys that are signed, keys that are not, and the forms they come in; CSRs around them."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from ottr.ca.csr import MOST_BYTES, parse_csr
from ottr.ca.keys import (
    digest_for,
    encode_private_key,
    generate_key,
    hash_public_key,
    judge_key,
    parse_private_key,
    verify_signature,
)
from ottr.ca.model import KeyAlgorithm
from ottr.ca.signer import Signer, build_signer
from ottr.errors import KeyUnavailable, RequestRefused
from tests.ca.requests import build_csr, encode_csr


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm), ids=lambda kind: kind.value)
def test_a_key_is_what_it_was_made_as_and_signs(algorithm: KeyAlgorithm) -> None:
    signer = build_signer(generate_key(algorithm))
    assert signer.algorithm is algorithm
    signature = signer.sign(b"data")
    verify_signature(signer.public_key, signature, b"data", signer.digest)
    with pytest.raises(InvalidSignature):
        verify_signature(signer.public_key, signature, b"other", signer.digest)


def test_the_digest_fits_the_key() -> None:
    names = {kind: digest_for(generate_key(kind).public_key()) for kind in KeyAlgorithm}
    assert {kind.value: digest.name if digest else None for kind, digest in names.items()} == {
        "ec256": "sha256",
        "ec384": "sha384",
        "ec521": "sha512",
        "rsa2048": "sha256",
        "rsa3072": "sha256",
        "rsa4096": "sha256",
        "ed25519": None,
    }


def test_a_signature_without_its_digest_is_none() -> None:
    key = generate_key(KeyAlgorithm.EC256)
    with pytest.raises(KeyUnavailable, match="needs a digest"):
        Signer(key, None, KeyAlgorithm.EC256).sign(b"data")
    with pytest.raises(InvalidSignature):
        verify_signature(key.public_key(), b"", b"", None)


@dataclass
class Numbers:
    n: int
    e: int = 65537


class StrangeRsa(rsa.RSAPublicKey):
    """An RSA key with numbers no generator would make."""

    def __init__(self, numbers: Numbers, key_size: int) -> None:
        self._numbers, self._size = numbers, key_size

    def public_numbers(self) -> Numbers:  # type: ignore[override]
        return self._numbers

    @property
    def key_size(self) -> int:
        return self._size

    encrypt = public_bytes = verify = recover_data_from_signature = None  # type: ignore[assignment]
    __eq__ = __copy__ = __deepcopy__ = None  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        (StrangeRsa(Numbers(2**1023 + 1), 1024), "1024 bits"),
        (StrangeRsa(Numbers(2**16383 + 1), 16384), "16384 bits"),
        (StrangeRsa(Numbers(2**2048 + 1), 2049), "2049 bits"),
        (StrangeRsa(Numbers(3, 3), 2048), "exponent"),
        (StrangeRsa(Numbers(3, 65540), 2048), "exponent"),
        (StrangeRsa(Numbers(3, 2**64 + 1), 2048), "exponent"),
        (StrangeRsa(Numbers(2**2047), 2048), "small factor"),
        (StrangeRsa(Numbers(97 * (2**2040 + 1)), 2048), "small factor"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "secp256k1"),
        (ed448.Ed448PrivateKey.generate().public_key(), "Ed448"),
        (dsa.generate_private_key(2048).public_key(), "DSA"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_weak_and_strange_keys_are_refused(key: object, complaint: str) -> None:
    with pytest.raises(RequestRefused, match=complaint):
        judge_key(key)


def test_two_keys_have_two_hashes() -> None:
    first, second = (generate_key(KeyAlgorithm.EC256).public_key() for _ in range(2))
    assert hash_public_key(first) != hash_public_key(second)
    assert hash_public_key(first) == hash_public_key(first)


FORMS = [
    (PrivateFormat.PKCS8, Encoding.PEM),
    (PrivateFormat.PKCS8, Encoding.DER),
    (PrivateFormat.TraditionalOpenSSL, Encoding.PEM),
    (PrivateFormat.TraditionalOpenSSL, Encoding.DER),
]


@pytest.mark.parametrize("algorithm", [KeyAlgorithm.EC256, KeyAlgorithm.RSA2048], ids=lambda kind: kind.value)
@pytest.mark.parametrize(
    ("form", "encoding"), FORMS, ids=["pkcs8-pem", "pkcs8-der", "traditional-pem", "traditional-der"]
)
def test_OT_31_keys_come_as_PKCS8_PKCS1_and_SEC1(
    algorithm: KeyAlgorithm, form: PrivateFormat, encoding: Encoding
) -> None:
    key = generate_key(algorithm)
    data = key.private_bytes(encoding, form, NoEncryption())
    assert encode_private_key(parse_private_key(data, None, "here")) == encode_private_key(key)


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["pkcs8", "traditional"])
def test_OT_31_encrypted_keys_need_their_passphrase(form: PrivateFormat) -> None:
    key = generate_key(KeyAlgorithm.EC256)
    data = key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"right"))
    assert encode_private_key(parse_private_key(data, b"right", "here")) == encode_private_key(key)
    for wrong in (b"wrong", None):
        with pytest.raises(KeyUnavailable, match="here"):
            parse_private_key(data, wrong, "here")


def test_a_scrypt_key_of_openssl_is_read(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    made = subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        capture_output=True,
        check=True,
        timeout=30,
    )
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-scrypt", "-passout", "pass:right", "-out", str(file)],
        input=made.stdout,
        check=True,
        timeout=30,
    )
    assert judge_key(parse_private_key(file.read_bytes(), b"right", "here").public_key()) is KeyAlgorithm.EC256


def test_what_is_no_key() -> None:
    key = generate_key(KeyAlgorithm.EC256).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyUnavailable, match="not encrypted"):
        parse_private_key(key, b"passphrase", "here")
    for data in (b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\x30\x00"):
        with pytest.raises(KeyUnavailable, match="no private key"):
            parse_private_key(data, None, "here")
    other = ed448.Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyUnavailable, match="not used"):
        parse_private_key(other, None, "here")


@pytest.mark.parametrize("algorithm", list(KeyAlgorithm), ids=lambda kind: kind.value)
def test_a_CSR_of_every_kind_is_read(algorithm: KeyAlgorithm) -> None:
    key = generate_key(algorithm)
    csr = build_csr("www.example.test", common_name="www.example.test", key=key)
    for form in (Encoding.PEM, Encoding.DER):
        request = parse_csr(csr.public_bytes(form))
        assert request.public_key == key.public_key()
        assert request.names.dns == ("www.example.test",)
        assert request.common_name == "www.example.test"


def test_OT_19_what_is_no_CSR_is_refused_with_a_reason() -> None:
    good = encode_csr(build_csr("www.example.test"))
    forged = good[:-1] + bytes([good[-1] ^ 1])
    with pytest.raises(RequestRefused, match=r"signature|cannot be read"):
        parse_csr(forged)
    for data in (b"", b"nonsense", good[:-9], b"-----BEGIN CERTIFICATE REQUEST-----\n!\n", b"\x30\x80" + good):
        with pytest.raises(RequestRefused, match="cannot be read"):
            parse_csr(data)
    with pytest.raises(RequestRefused, match="bytes"):
        parse_csr(b"x" * (MOST_BYTES + 1))


def test_a_CSR_with_a_weak_signature_is_refused(tmp_path: Path) -> None:
    key, csr = tmp_path / "key.pem", tmp_path / "csr.pem"
    command = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-sha1", "-subj", "/CN=a.test"]
    subprocess.run([*command, "-keyout", key, "-out", csr], check=True, capture_output=True, timeout=30)
    with pytest.raises(RequestRefused, match="sha1"):
        parse_csr(csr.read_bytes())


def test_a_CSR_whose_signature_is_of_another_key_is_refused() -> None:
    one, two = (build_csr("www.example.test") for _ in range(2))
    # The end of one with the signature of the other: both are P-256 and often of one length.
    body = one.tbs_certrequest_bytes
    algorithm = bytes.fromhex("300a06082a8648ce3d040302")
    signature = b"\x03" + bytes([len(two.signature) + 1]) + b"\x00" + two.signature
    content = body + algorithm + signature
    der = (
        b"\x30\x81" + bytes([len(content)]) + content
        if len(content) < 256
        else (b"\x30\x82" + len(content).to_bytes(2) + content)
    )
    with pytest.raises(RequestRefused, match="not made with its key"):
        parse_csr(der)


def test_a_CSR_without_common_name_or_names() -> None:
    request = parse_csr(encode_csr(build_csr()))
    assert request.common_name == ""
    assert not request.names


@pytest.mark.parametrize("prime", [one for one in range(3, 100, 2) if all(one % other for other in range(2, one))])
def test_no_prime_below_a_hundred_divides_a_modulus(prime: int) -> None:
    with pytest.raises(RequestRefused, match="small factor"):
        judge_key(StrangeRsa(Numbers(prime**300), 2048))
    assert judge_key(StrangeRsa(Numbers(101**300), 2048)) == KeyAlgorithm.RSA2048
