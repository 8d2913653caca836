# SPDX-License-Identifier: Apache-2.0
"""Issuers' keys in a PKCS#11 token: they are made there and stay there. Needs ``pip install 'ottr[pkcs11]'``.

``cryptography`` signs certificates, CRLs and OCSP answers with any object that is one of its private keys by type;
these are such objects, whose ``sign`` asks the token. All else of the interface is refused: there is nothing to show.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NoReturn

import pkcs11
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.exceptions import PinIncorrect, PKCS11Error, UserAlreadyLoggedIn
from pkcs11.util.ec import encode_ec_public_key, encode_ecdsa_signature, encode_named_curve_parameters
from pkcs11.util.rsa import encode_rsa_public_key

from ottr.ca.envelope import Passphrase
from ottr.ca.keys import PrivateKey, is_rsa
from ottr.ca.model import KeyAlgorithm
from ottr.ca.signer import Signer, build_signer
from ottr.errors import KeyUnavailable

_CURVES = {KeyAlgorithm.EC256: "secp256r1", KeyAlgorithm.EC384: "secp384r1", KeyAlgorithm.EC521: "secp521r1"}
_BITS = {KeyAlgorithm.RSA2048: 2048, KeyAlgorithm.RSA3072: 3072, KeyAlgorithm.RSA4096: 4096}
_RSA_MECHANISMS = {
    "sha256": Mechanism.SHA256_RSA_PKCS,
    "sha384": Mechanism.SHA384_RSA_PKCS,
    "sha512": Mechanism.SHA512_RSA_PKCS,
}


class TokenKeyring:
    """Keys in one token, found by label; one session, one operation at a time.

    The token is opened, and its PIN needed, when a key is needed first. Raises KeyUnavailable then.
    """

    def __init__(self, module: Path, token: str, passphrase: Passphrase) -> None:
        self._module = module
        self._token = token
        self._passphrase = passphrase
        self._lock = threading.Lock()
        self._loaded: dict[str, Signer] = {}
        self._session: Any = None
        self._refused = ""
        """What the token said of a PIN that was wrong."""

    def create(self, key_id: str, algorithm: KeyAlgorithm) -> Signer:
        """Make a key in the token, which will not give it out."""
        if algorithm is KeyAlgorithm.ED25519:
            raise KeyUnavailable("keys in a token are RSA or on a NIST curve", hint="`key_type: ec256` in ca.yaml")
        with self._lock:
            try:
                self._generate(key_id, algorithm)
            except PKCS11Error as error:
                raise KeyUnavailable(f"the token cannot make {key_id}: {_describe(error)}") from error
        return self.load(key_id)

    def add(self, key_id: str, key: PrivateKey) -> Signer:
        """Refuse: a key that has been outside of a token is no token's key."""
        del key
        raise KeyUnavailable(f"{key_id} is not put into the token: it has been outside", hint="make a new generation")

    def is_quick(self, key_id: str) -> bool:
        """Never: nobody knows how long a token takes."""
        del key_id
        return False

    def load(self, key_id: str) -> Signer:
        """Find a key by its label."""
        with self._lock:
            if key_id not in self._loaded:
                try:
                    self._loaded[key_id] = self._find(key_id)
                except PKCS11Error as error:
                    raise KeyUnavailable(f"the token has no usable key {key_id}: {_describe(error)}") from error
            return self._loaded[key_id]

    def close(self) -> None:
        """Log out."""
        if self._session is not None:
            self._session.close()

    def _log_in(self) -> Any:
        """The session. A PIN that was wrong is not tried again: the token counts, and locks itself."""
        if self._session is None:
            pin = _read_pin(self._passphrase)
            if self._refused:
                raise self._build_refusal(self._refused)
            try:
                self._session = _open_session(pkcs11.lib(str(self._module)).get_token(token_label=self._token), pin)
            except (PKCS11Error, RuntimeError) as error:
                self._refused = _describe(error) if isinstance(error, PinIncorrect) else ""
                raise self._build_refusal(_describe(error)) from error
        return self._session

    def _build_refusal(self, why: str) -> KeyUnavailable:
        return KeyUnavailable(
            f"the token {self._token!r} of {self._module} cannot be opened: {why}",
            hint="check module and label in ca.yaml; the passphrase is the token's PIN",
        )

    def _generate(self, key_id: str, algorithm: KeyAlgorithm) -> None:
        stays = {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.SIGN: True}
        named = {"id": key_id.encode(), "label": key_id, "store": True, "private_template": stays}
        session = self._log_in()
        if is_rsa(algorithm):
            session.generate_keypair(KeyType.RSA, _BITS[algorithm], **named)
            return
        curve = {Attribute.EC_PARAMS: encode_named_curve_parameters(_CURVES[algorithm])}
        parameters = session.create_domain_parameters(KeyType.EC, curve, local=True)
        parameters.generate_keypair(**named)

    def _find(self, key_id: str) -> Signer:
        session = self._log_in()
        private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=key_id)
        public = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=key_id)
        token_key = _TokenKey(private, self._lock)
        if public.key_type == KeyType.RSA:
            rsa_key = load_der_public_key(encode_rsa_public_key(public))
            return build_signer(TokenRsaKey(token_key, rsa_key))  # type: ignore[arg-type]  # RSA, as just asked
        ec_key = load_der_public_key(encode_ec_public_key(public))
        return build_signer(TokenEcKey(token_key, ec_key))  # type: ignore[arg-type]  # EC, as just asked


def _read_pin(passphrase: Passphrase) -> str:
    try:
        return passphrase.reveal().decode()
    except UnicodeDecodeError as error:
        raise KeyUnavailable("the passphrase is the token's PIN, and that is text in UTF-8") from error


def _open_session(token: Any, pin: str) -> Any:
    """A process logs in to a token once, for all its sessions."""
    try:
        return token.open(rw=True, user_pin=pin)
    except UserAlreadyLoggedIn:
        return token.open(rw=True)


class _TokenKey:
    """A private key's handle; a session does one thing at a time."""

    def __init__(self, handle: Any, lock: threading.Lock) -> None:
        self._handle = handle
        self._lock = lock

    def sign(self, data: bytes, mechanism: Mechanism) -> bytes:
        """The token's signature in PKCS#11's own form. Raises KeyUnavailable."""
        with self._lock:
            try:
                return bytes(self._handle.sign(data, mechanism=mechanism))
            except PKCS11Error as error:
                raise KeyUnavailable(f"the token does not sign: {_describe(error)}") from error


class TokenEcKey(ec.EllipticCurvePrivateKey):
    """A key on a NIST curve in a token."""

    def __init__(self, token_key: _TokenKey, public_key: ec.EllipticCurvePublicKey) -> None:
        self._token_key = token_key
        self._public_key = public_key

    def sign(self, data: bytes, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:  # type: ignore[override]
        """Hash here, sign there: every token has plain ECDSA."""
        algorithm = signature_algorithm.algorithm
        if not isinstance(algorithm, hashes.HashAlgorithm):
            _refuse()
        digest = hashes.Hash(algorithm)
        digest.update(data)
        return bytes(encode_ecdsa_signature(self._token_key.sign(digest.finalize(), Mechanism.ECDSA)))

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """The public part."""
        return self._public_key

    @property
    def curve(self) -> ec.EllipticCurve:
        """Its curve."""
        return self._public_key.curve

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public_key.key_size

    def exchange(self, algorithm: Any, peer_public_key: Any) -> NoReturn:
        """Refuse."""
        del algorithm, peer_public_key
        _refuse()

    def private_numbers(self) -> NoReturn:
        """Refuse."""
        _refuse()

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:
        """Refuse."""
        del encoding, format, encryption_algorithm
        _refuse()

    def __copy__(self) -> TokenEcKey:
        return self

    def __deepcopy__(self, memo: Any) -> TokenEcKey:
        return self


class TokenRsaKey(rsa.RSAPrivateKey):
    """An RSA key in a token; PKCS#1 v1.5 signatures only, which is what X.509 uses."""

    def __init__(self, token_key: _TokenKey, public_key: rsa.RSAPublicKey) -> None:
        self._token_key = token_key
        self._public_key = public_key

    def sign(self, data: bytes, padding: Any, algorithm: Any) -> bytes:
        """Hash and sign in the token."""
        if padding.name != "EMSA-PKCS1-v1_5" or algorithm.name not in _RSA_MECHANISMS:
            _refuse()
        return self._token_key.sign(data, _RSA_MECHANISMS[algorithm.name])

    def public_key(self) -> rsa.RSAPublicKey:
        """The public part."""
        return self._public_key

    @property
    def key_size(self) -> int:
        """Bits."""
        return self._public_key.key_size

    def decrypt(self, ciphertext: Any, padding: Any) -> NoReturn:
        """Refuse."""
        del ciphertext, padding
        _refuse()

    def private_numbers(self) -> NoReturn:
        """Refuse."""
        _refuse()

    def private_bytes(self, encoding: Any, format: Any, encryption_algorithm: Any) -> NoReturn:
        """Refuse."""
        del encoding, format, encryption_algorithm
        _refuse()

    def __copy__(self) -> TokenRsaKey:
        return self

    def __deepcopy__(self, memo: Any) -> TokenRsaKey:
        return self


def _refuse() -> NoReturn:
    raise KeyUnavailable("a key in a token only signs")


def _describe(error: Exception) -> str:
    """PKCS#11's errors are known by their class, and mostly say nothing else."""
    return str(error) or type(error).__name__
