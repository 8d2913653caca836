# SPDX-License-Identifier: Apache-2.0
"""What signs: a key object that ``cryptography``'s builders take, wherever the key itself is.

A ``Keyring`` makes and finds keys by their id. ``FileKeyring`` holds them in sealed files; ``pkcs11.TokenKeyring``
leaves them in a token. Another process or a key service is a third class of the same three methods.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from ottr.ca import envelope, folder
from ottr.ca.envelope import Passphrase
from ottr.ca.keys import (
    Digest,
    PrivateKey,
    PublicKey,
    digest_for,
    encode_private_key,
    generate_key,
    is_rsa,
    judge_key,
    name_signature,
    parse_private_key,
)
from ottr.ca.model import KeyAlgorithm
from ottr.errors import KeyUnavailable


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key in use, and what it signs over."""

    key: PrivateKey = field(repr=False)
    """For the builders of ``cryptography``: certificates, CRLs, OCSP answers."""
    digest: Digest | None
    algorithm: KeyAlgorithm
    public_key: PublicKey = field(init=False, repr=False)
    """Its public part, one object: to verify with a new one, OpenSSL would have to get it ready each time."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "public_key", self.key.public_key())

    @property
    def signature_oid(self) -> x509.ObjectIdentifier:
        """What a certificate calls its signatures."""
        return name_signature(self.algorithm, self.digest)

    def sign(self, data: bytes) -> bytes:
        """Sign bytes as X.509 does: PKCS#1 v1.5, DER of r and s, or Ed25519."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), self._digest)
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(data, ec.ECDSA(self._digest))
        return self.key.sign(data)

    @property
    def _digest(self) -> Digest:
        if self.digest is None:
            raise KeyUnavailable("this key needs a digest to sign")
        return self.digest


def build_signer(key: PrivateKey) -> Signer:
    """A signer for a key in hand. Raises RequestRefused for keys no certificate should be signed with."""
    public_key = key.public_key()
    return Signer(key, digest_for(public_key), judge_key(public_key))


class Keyring(Protocol):
    """Holds the keys of issuers."""

    def create(self, key_id: str, algorithm: KeyAlgorithm) -> Signer:
        """Make a key. Raises KeyUnavailable when there is one of that id, or it cannot be made."""

    def load(self, key_id: str) -> Signer:
        """Return the signer of a key; cheap from the second time on. Raises KeyUnavailable."""

    def add(self, key_id: str, key: PrivateKey) -> Signer:
        """Take a key in, as ``create`` does with a new one."""

    def is_quick(self, key_id: str) -> bool:
        """Whether it is at hand and signs within a millisecond."""

    def close(self) -> None:
        """Let go of keys and tokens."""


class FileKeyring:
    """Keys in sealed files, ``KEY-ID.key``, of one folder."""

    def __init__(self, path: Path, passphrase: Passphrase) -> None:
        self._path = path
        self._passphrase = passphrase
        self._loaded: dict[str, Signer] = {}
        self._lock = threading.Lock()

    def create(self, key_id: str, algorithm: KeyAlgorithm) -> Signer:
        """Make a key and seal it."""
        return self.add(key_id, generate_key(algorithm))

    def add(self, key_id: str, key: PrivateKey) -> Signer:
        """Seal a key that exists."""
        signer = build_signer(key)
        folder.make_folder(self._path)
        folder.write_key_file(self._file(key_id), envelope.seal(encode_private_key(key), key_id, self._passphrase))
        with self._lock:
            self._loaded[key_id] = signer
        return signer

    def load(self, key_id: str) -> Signer:
        """Open the envelope; once for each key and process."""
        with self._lock:
            if key_id not in self._loaded:
                file = self._file(key_id)
                raw = envelope.unseal(folder.read_key_file(file), key_id, self._passphrase)
                self._loaded[key_id] = build_signer(parse_private_key(raw, None, str(file)))
            return self._loaded[key_id]

    def is_quick(self, key_id: str) -> bool:
        """Once it was loaded, unless it is of RSA."""
        with self._lock:
            found = self._loaded.get(key_id)
        return found is not None and not is_rsa(found.algorithm)

    def rewrap(self, new: Passphrase) -> tuple[str, ...]:
        """Seal every key for another passphrase; return their ids. An interrupted run can be run again."""
        changed = []
        for file in sorted(self._path.glob("*.key")):
            text = folder.read_key_file(file)
            if not envelope.opens(text, file.stem, new):
                folder.replace_key_file(file, envelope.rewrap(text, file.stem, self._passphrase, new))
                changed.append(file.stem)
        return tuple(changed)

    def close(self) -> None:
        """Forget the keys."""
        with self._lock:
            self._loaded.clear()

    def _file(self, key_id: str) -> Path:
        if not key_id or not all(char.isalnum() or char == "-" for char in key_id):
            raise KeyUnavailable(f"{key_id!r} is not the id of a key")
        return self._path / f"{key_id}.key"
