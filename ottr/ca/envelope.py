# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: a versioned envelope of Argon2id or scrypt, AES-256-GCM, and the name of what is inside.

The passphrase gives a key (KEK) that wraps a random data key; the data key seals the secret. The name of the object
is bound to both, so an envelope cannot be put in another one's place. A new passphrase wraps the data key anew and
leaves the rest as it is.
"""

from __future__ import annotations

import base64
import json
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ottr.errors import KeyUnavailable

VERSION = 1
_NONCE_BYTES = 12
_KEY_BYTES = 32
_MOST_MEMORY_KIB = 4 * 1024 * 1024
"""An envelope that asks for more is refused: reading a file must not be able to take the machine's memory."""


class Kdf(Enum):
    """How a passphrase becomes a key."""

    ARGON2ID = "argon2id"
    """RFC 9106 section 4, second recommended option: 64 MiB, three passes, four lanes."""
    SCRYPT = "scrypt"
    """RFC 7914, N = 2^17, r = 8, p = 1."""


@dataclass(frozen=True, slots=True)
class Derivation:
    """A KDF with its salt and costs: memory in KiB and passes for Argon2id, N and r for scrypt."""

    kdf: Kdf
    salt: bytes
    cost: int
    size: int
    lanes: int

    def derive(self, passphrase: bytes) -> bytes:
        """Return the 32 bytes of the KEK. Raises ValueError for impossible costs."""
        if self.kdf is Kdf.SCRYPT:
            return Scrypt(salt=self.salt, length=_KEY_BYTES, n=self.cost, r=self.size, p=self.lanes).derive(passphrase)
        argon = Argon2id(
            salt=self.salt, length=_KEY_BYTES, iterations=self.size, lanes=self.lanes, memory_cost=self.cost
        )
        return argon.derive(passphrase)

    @property
    def memory_kib(self) -> int:
        """What deriving takes."""
        return self.cost * self.size // 8 if self.kdf is Kdf.SCRYPT else self.cost


def choose_derivation(kdf: Kdf) -> Derivation:
    """A new salt and today's costs."""
    salt = secrets.token_bytes(16)
    return Derivation(kdf, salt, 2**17, 8, 1) if kdf is Kdf.SCRYPT else Derivation(kdf, salt, 64 * 1024, 3, 4)


class Passphrase:
    """A passphrase and the keys derived from it, each derived once in a process. Never shown.

    Given as what asks for it, it is asked for once, when a key is needed first.
    """

    def __init__(self, passphrase: bytes | Callable[[], bytes], kdf: Kdf = Kdf.ARGON2ID) -> None:
        self._passphrase = passphrase if callable(passphrase) else _refuse_empty(passphrase)
        self._kdf = kdf
        self._asking = threading.Lock()
        self._derived: dict[Derivation, bytes] = {}
        self._own: Derivation | None = None
        self._lock = threading.Lock()

    @property
    def derivation(self) -> Derivation:
        """What new envelopes use: that of an envelope opened before, so that one derivation opens them all."""
        with self._lock:
            return next(iter(self._derived), None) or self._choose()

    def reveal(self) -> bytes:
        """The passphrase itself: a token's PIN. Raises KeyUnavailable when it must be asked for and there is none."""
        with self._asking:
            if callable(self._passphrase):
                self._passphrase = _refuse_empty(self._passphrase())
            return self._passphrase

    def _choose(self) -> Derivation:
        self._own = self._own or choose_derivation(self._kdf)
        return self._own

    def derive(self, derivation: Derivation) -> bytes:
        """The KEK under a derivation."""
        with self._lock:
            if derivation not in self._derived:
                self._derived[derivation] = derivation.derive(self.reveal())
            return self._derived[derivation]


def _refuse_empty(passphrase: bytes) -> bytes:
    if not passphrase:
        raise KeyUnavailable("the passphrase of the CA's keys is empty")
    return passphrase


def seal(secret: bytes, name: str, passphrase: Passphrase) -> str:
    """Return an envelope, JSON text, that only the passphrase opens and only under this name."""
    data_key = AESGCM.generate_key(256)
    box = _encrypt(data_key, secret, _bind(name, "secret"))
    return _write(name, passphrase, data_key, box)


def unseal(envelope: str, name: str, passphrase: Passphrase) -> bytes:
    """Return the secret. Raises KeyUnavailable: wrong passphrase, another object's envelope, or damaged."""
    content = _read(envelope, name)
    data_key = _unwrap(content, name, passphrase)
    return _decrypt(data_key, content["secret"], _bind(name, "secret"), name)


def opens(envelope: str, name: str, passphrase: Passphrase) -> bool:
    """Whether a passphrase is that of an envelope."""
    try:
        unseal(envelope, name, passphrase)
    except KeyUnavailable:
        return False
    return True


def rewrap(envelope: str, name: str, old: Passphrase, new: Passphrase) -> str:
    """Return the envelope for another passphrase; the sealed secret itself is not touched."""
    content = _read(envelope, name)
    return _write(name, new, _unwrap(content, name, old), content["secret"])


def _write(name: str, passphrase: Passphrase, data_key: bytes, box: str) -> str:
    derivation = passphrase.derivation
    content = {
        "ottr_envelope": VERSION,
        "name": name,
        "kdf": derivation.kdf.value,
        "salt": _encode(derivation.salt),
        "cost": derivation.cost,
        "size": derivation.size,
        "lanes": derivation.lanes,
        "wrapped_key": _encrypt(passphrase.derive(derivation), data_key, _bind(name, "key")),
        "secret": box,
    }
    return json.dumps(content, indent=1) + "\n"


def _read(envelope: str, name: str) -> dict[str, Any]:
    try:
        content = json.loads(envelope)
        version = content["ottr_envelope"]
    except (ValueError, KeyError, TypeError) as error:
        raise KeyUnavailable(f"{name}: this is no envelope of Ottr") from error
    if version != VERSION:
        raise KeyUnavailable(f"{name}: the envelope has version {version}, this program knows {VERSION}")
    if content.get("name") != name:
        raise KeyUnavailable(f"{name}: the envelope is that of another object")
    return dict(content)


def _unwrap(content: dict[str, Any], name: str, passphrase: Passphrase) -> bytes:
    try:
        derivation = Derivation(
            Kdf(content["kdf"]),
            base64.b64decode(content["salt"], validate=True),
            int(content["cost"]),
            int(content["size"]),
            int(content["lanes"]),
        )
        if derivation.memory_kib > _MOST_MEMORY_KIB:
            raise ValueError
        kek = passphrase.derive(derivation)
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise KeyUnavailable(f"{name}: the envelope is damaged") from error
    return _decrypt(kek, content.get("wrapped_key"), _bind(name, "key"), name)


def _encrypt(key: bytes, secret: bytes, bound: bytes) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return _encode(nonce + AESGCM(key).encrypt(nonce, secret, bound))


def _decrypt(key: bytes, box: Any, bound: bytes, name: str) -> bytes:
    try:
        raw = base64.b64decode(box, validate=True)
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound)
    except (InvalidTag, ValueError, TypeError) as error:
        raise KeyUnavailable(
            f"{name}: the passphrase does not open the envelope", hint="give the passphrase of this CA"
        ) from error


def _bind(name: str, what: str) -> bytes:
    """What is authenticated with the ciphertext: version, part, and the object's name."""
    return f"ottr-envelope\0{VERSION}\0{what}\0{name}".encode()


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
