# SPDX-License-Identifier: Apache-2.0
"""One issuer's account on disk: a folder 0700 with its key, its URL and a lock; never in the state database."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import josepy
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from josepy import jwk

from ottr.errors import IssuanceError


@dataclass(frozen=True, slots=True)
class Registration:
    """What the CA and we agreed on: ``account.json``."""

    url: str
    directory: str
    contact: tuple[str, ...] = ()


class AccountFiles:
    """The folder ``accounts/ISSUER`` of the state folder. Its methods raise IssuanceError."""

    def __init__(self, state_dir: Path, issuer: str) -> None:
        self.folder = state_dir / "accounts" / issuer
        self.key_path = self.folder / "key.pem"
        self.next_key_path = self.folder / "key.next.pem"
        self._registration_path = self.folder / "account.json"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process away from the folder, which is made when it is missing."""
        with _naming(self.folder):
            self.folder.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.parent.mkdir(mode=0o700, exist_ok=True)
            self.folder.mkdir(mode=0o700, exist_ok=True)
            lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def load_key(self, path: Path) -> jwk.JWKEC:
        """Read an account key that nobody else may read."""
        if not path.exists():
            raise IssuanceError(
                f"{path} is missing",
                hint=f"restore the account key from a backup, or remove {self._registration_path} to register anew",
            )
        with _naming(path):
            mode = path.stat().st_mode & 0o777
            if mode & 0o077:
                raise IssuanceError(f"{path}: mode {mode:04o} lets others at the account key", hint=f"chmod 600 {path}")
            pem = path.read_bytes()
        try:
            key = jwk.JWK.load(pem)
        except josepy.errors.Error as error:
            raise _unusable(path) from error
        if isinstance(key, jwk.JWKEC) and key.to_json().keys() >= {"d"} and key.to_json()["crv"] == "P-256":
            return key
        raise _unusable(path)

    def create_key(self, path: Path) -> jwk.JWKEC:
        """Make a P-256 key; the file appears whole or not at all, readable by its owner only from the first byte."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return jwk.JWKEC(key=key)

    def adopt_next_key(self) -> None:
        """Make the new key of a rollover the key."""
        with _naming(self.key_path):
            self.next_key_path.replace(self.key_path)
            _sync(self.folder)

    def drop_next_key(self) -> None:
        """Forget a new key that the CA never took."""
        with _naming(self.next_key_path):
            self.next_key_path.unlink()

    def load_registration(self) -> Registration | None:
        """Read ``account.json``; None when there is none yet."""
        path = self._registration_path
        with _naming(path):
            if not path.exists():
                return None
            text = path.read_text()
        try:
            entries = json.loads(text)
            return Registration(entries["url"], entries["directory"], tuple(entries["contact"]))
        except (ValueError, KeyError, TypeError) as error:
            raise IssuanceError(
                f"{path} is not what Ottr wrote", hint=f"remove {path}: the next run registers the same key again"
            ) from error

    def save_registration(self, registration: Registration) -> None:
        """Write ``account.json``."""
        self._write(self._registration_path, json.dumps(asdict(registration), indent=2).encode() + b"\n")

    def _write(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(path.name + ".tmp")
        with _naming(path):
            temporary.unlink(missing_ok=True)  # of a process that died; the lock is ours
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _sync(self.folder)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn the system's refusals into errors that name the file."""
    try:
        yield
    except OSError as error:
        raise IssuanceError(
            f"{path}: {error.strerror or error}", hint="the state folder must be writable, and private to its user"
        ) from error


def _unusable(path: Path) -> IssuanceError:
    return IssuanceError(f"{path} is not a P-256 private key in PEM", hint="restore the account key from a backup")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
