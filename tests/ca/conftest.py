# SPDX-License-Identifier: Apache-2.0
"""A CA in a folder of its own, with a clock the test moves."""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ottr.ca.authority import Authority
from ottr.ca.envelope import Derivation, Kdf, Passphrase
from ottr.ca.opening import init_authority, open_authority

PASSPHRASE = Passphrase(b"correct horse battery staple")
"""Remembers what it has derived: the slow part is done once in a process."""
CHEAP = Derivation(Kdf.SCRYPT, b"0123456789abcdef", 16, 8, 1)
SETTINGS = """\
organization: Example
base_url: http://pki.example.test
"""


def choose_cheap(kdf: Kdf) -> Derivation:
    """As ``choose_derivation``, at costs of next to nothing."""
    salt = secrets.token_bytes(16)
    return Derivation(kdf, salt, 16, 8, 1) if kdf is Kdf.SCRYPT else Derivation(kdf, salt, 32, 1, 4)


@pytest.fixture(scope="module", autouse=True)
def cheap_derivations() -> Iterator[None]:
    """Passphrases are no slow part of any test, but for those of the envelope."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ottr.ca.envelope.choose_derivation", choose_cheap)
        yield


class MovableClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(microsecond=0)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture(scope="session")
def fresh_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA that has just been made, to be copied; opening its keys costs next to nothing."""
    path = tmp_path_factory.mktemp("ca") / "ca"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ottr.ca.envelope.choose_derivation", lambda kdf: CHEAP)
        init_authority(path, SETTINGS, PASSPHRASE)
    return path


@pytest.fixture
def folder(tmp_path: Path, fresh_folder: Path) -> Path:
    """The folder of a CA."""
    return Path(shutil.copytree(fresh_folder, tmp_path / "ca"))


@pytest.fixture
def authority(folder: Path, clock: MovableClock) -> Iterator[Authority]:
    with open_authority(folder, PASSPHRASE, clock=clock) as opened:
        yield opened


def write_pem(path: Path, *certificates: x509.Certificate) -> Path:
    """Write certificates to a file and return it."""
    path.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    return path


def run_openssl(*arguments: str | Path) -> str:
    """Run the openssl program and return all it said; its exit status must be 0."""
    done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
