# SPDX-License-Identifier: Apache-2.0
"""A CA whose issuers' keys never leave a token (SoftHSM)."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp

from ottr.ca.authority import parse_row
from ottr.ca.envelope import Passphrase
from ottr.ca.keys import generate_key, verify_signature
from ottr.ca.model import KeyAlgorithm
from ottr.ca.opening import init_authority, open_authority
from ottr.ca.passphrase import VARIABLE
from ottr.ca.pkcs11 import TokenKeyring
from ottr.ca.signer import Signer
from ottr.errors import KeyUnavailable
from ottr.play.authorities import Authorities, Place
from tests.ca.conftest import run_openssl, write_pem
from tests.ca.requests import SERVER, build_request
from tests.measuring import measured

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "12345678"


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The label of a fresh token; SoftHSM reads its configuration once in a process."""
    folder = tmp_path_factory.mktemp("softhsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        command = ["softhsm2-util", "--init-token", "--free", "--label", "ca", "--pin", PIN, "--so-pin", PIN]
        subprocess.run(command, check=True, capture_output=True, timeout=30, env=dict(os.environ))
        yield "ca"


@pytest.fixture(scope="module")
def keyring(token: str) -> Iterator[TokenKeyring]:
    opened = TokenKeyring(MODULE, token, Passphrase(PIN.encode()))
    yield opened
    opened.close()


KINDS = [kind for kind in KeyAlgorithm if kind not in (KeyAlgorithm.ED25519, KeyAlgorithm.RSA4096)]


@pytest.mark.parametrize("algorithm", KINDS, ids=lambda kind: kind.value)
def test_keys_are_made_in_the_token_and_sign_there(keyring: TokenKeyring, algorithm: KeyAlgorithm) -> None:
    signer = keyring.create(f"key-{algorithm.value}", algorithm)
    assert signer.algorithm is algorithm
    verify_signature(signer.public_key, signer.sign(b"data"), b"data", signer.digest)
    assert keyring.load(f"key-{algorithm.value}") is signer
    assert not keyring.is_quick(f"key-{algorithm.value}"), "who must not wait does not sign with it"


@pytest.fixture(scope="module", params=[KeyAlgorithm.EC256, KeyAlgorithm.RSA2048], ids=lambda kind: kind.value)
def signer(request: pytest.FixtureRequest, keyring: TokenKeyring) -> Signer:
    return keyring.create(f"shared-{request.param.value}", request.param)


def test_CRLs_and_OCSP_answers_are_signed_by_the_token(signer: Signer) -> None:
    name = x509.Name.from_rfc4514_string("CN=ca")
    moment = datetime(2026, 1, 1)
    crl = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(name)
        .last_update(moment)
        .next_update(moment + timedelta(days=1))
        .sign(signer.key, signer.digest)
    )
    assert crl.is_signature_valid(signer.public_key)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(signer.public_key)
        .serial_number(1)
        .not_valid_before(moment)
        .not_valid_after(moment + timedelta(days=1))
        .sign(signer.key, signer.digest)
    )
    certificate.verify_directly_issued_by(certificate)
    answer = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            certificate,
            certificate,
            hashes.SHA1(),
            ocsp.OCSPCertStatus.GOOD,
            moment,
            moment + timedelta(hours=1),
            None,
            None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.HASH, certificate)
        .sign(signer.key, signer.digest)
    )
    verify_signature(signer.public_key, answer.signature, answer.tbs_response_bytes, signer.digest)


def test_a_key_in_a_token_only_signs(signer: Signer) -> None:
    key = signer.key
    assert copy.copy(key) is copy.deepcopy(key) is key
    assert key.key_size == signer.public_key.key_size
    with pytest.raises(KeyUnavailable, match="only signs"):
        key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(KeyUnavailable, match="only signs"):
        key.private_numbers()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        assert key.curve.name == "secp256r1"
        with pytest.raises(KeyUnavailable, match="only signs"):
            key.exchange(ec.ECDH(), key.public_key())
        with pytest.raises(KeyUnavailable, match="only signs"):
            key.sign(b"", ec.ECDSA(Prehashed(hashes.SHA256())))
    if isinstance(key, rsa.RSAPrivateKey):
        with pytest.raises(KeyUnavailable, match="only signs"):
            key.decrypt(b"", padding.PKCS1v15())
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        for wrong in ((pss, hashes.SHA256()), (padding.PKCS1v15(), hashes.SHA1())):
            with pytest.raises(KeyUnavailable, match="only signs"):
                key.sign(b"", *wrong)


def test_what_the_token_does_not_do(keyring: TokenKeyring, token: str) -> None:
    with pytest.raises(KeyUnavailable, match="NIST curve"):
        keyring.create("edwards", KeyAlgorithm.ED25519)
    with pytest.raises(KeyUnavailable, match="has been outside"):
        keyring.add("other", generate_key(KeyAlgorithm.EC256))
    with pytest.raises(KeyUnavailable, match="no usable key nobody"):
        keyring.load("nobody")
    pin = Passphrase(PIN.encode())
    for wrong in (
        TokenKeyring(MODULE, "another", pin),
        TokenKeyring(Path("/nonexistent.so"), token, pin),
    ):
        with pytest.raises(KeyUnavailable, match="cannot be opened"):
            wrong.load("shared")
        wrong.close()
    with pytest.raises(KeyUnavailable, match="text in UTF-8"):
        TokenKeyring(MODULE, token, Passphrase(b"\xff")).load("shared")


def test_a_token_that_fails_is_said_to(keyring: TokenKeyring, monkeypatch: pytest.MonkeyPatch) -> None:
    signer = keyring.create("breaking", KeyAlgorithm.EC256)
    from pkcs11.exceptions import DeviceError

    class Broken:
        def sign(self, data: bytes, mechanism: object) -> bytes:
            raise DeviceError

        def generate_keypair(self, *args: object, **more: object) -> None:
            raise DeviceError

    monkeypatch.setattr(signer.key._token_key, "_handle", Broken())  # type: ignore[union-attr]
    with pytest.raises(KeyUnavailable, match="does not sign: DeviceError"):
        signer.sign(b"data")
    monkeypatch.setattr(keyring, "_session", Broken())
    with pytest.raises(KeyUnavailable, match="cannot make rsa: DeviceError"):
        keyring.create("rsa", KeyAlgorithm.RSA2048)


def test_a_CA_in_a_token(token: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, passphrase = tmp_path / "ca", Passphrase(PIN.encode())
    init_authority(folder, f"token: {{module: {MODULE}, token: {token}}}\n", passphrase)
    with open_authority(folder, passphrase) as authority:
        row = authority.issue(build_request("www.example.test"), SERVER)
        root = write_pem(tmp_path / "root.pem", *authority.trust_bundle())
        chain = write_pem(tmp_path / "int.pem", *authority.chains(row.issuer_id)[0])
        leaf = write_pem(tmp_path / "leaf.pem", parse_row(row))
        assert authority.load_ocsp_signer("intermediate-1").certificate
    assert "OK" in run_openssl("verify", "-x509_strict", "-CAfile", root, "-untrusted", chain, leaf)
    assert not (folder / "keys").exists()
    # Who needs no key needs no PIN, and none is made up: the token would count it.
    monkeypatch.delenv(VARIABLE, raising=False)
    authorities, place = Authorities(), Place(folder)
    trusted = authorities.act("ca_bundle", place, {"phases": ["active"]}, check=False)
    assert trusted["bundle"] == root.read_text()
    asked = {"certificate": None, "serial": row.serial, "issuer": "", "reason": "superseded"}
    assert authorities.act("ca_revoke", place, asked, check=False)["changed"]
    with pytest.raises(KeyUnavailable, match="nobody is there to ask"):
        authorities.act("ca_certificate", place, {}, check=False)
    authorities.close()


def test_a_wrong_PIN_is_tried_once(token: str) -> None:
    """In a process of its own: one that has logged in to a token has done so for all."""
    script = f"""
from pathlib import Path
from ottr.ca.envelope import Passphrase
from ottr.ca.pkcs11 import TokenKeyring, pkcs11
from ottr.errors import KeyUnavailable
tries = []
real = pkcs11.lib
pkcs11.lib = lambda module: tries.append(module) or real(module)
keyring = TokenKeyring(Path({str(MODULE)!r}), {token!r}, Passphrase(b"87654321"))
for _ in range(3):
    try:
        keyring.load("any")
    except KeyUnavailable as error:
        print(len(tries), str(error).rpartition(": ")[2], error.__cause__ is None)
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=measured(), capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "1 PinIncorrect False\n" + "1 PinIncorrect True\n" * 2
