# SPDX-License-Identifier: Apache-2.0
"""Where the passphrase comes from: a file, the environment, a systemd credential, or whoever sits there."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from ottr.errors import KeyUnavailable

VARIABLE = "OTTR_CA_PASSPHRASE"
CREDENTIAL = "ottr-ca-passphrase"
"""Name under ``LoadCredential=`` or ``LoadCredentialEncrypted=`` of a systemd unit."""
_MOST_BYTES = 4096


def find_passphrase(file: Path | None, environment: Mapping[str, str], ask: Callable[[], str] | None) -> bytes:
    """Return the passphrase from the first place that has one. Raises KeyUnavailable, never showing any of it.

    ``ask`` is None where nobody can be asked.
    """
    credentials = environment.get("CREDENTIALS_DIRECTORY", "")
    if file is not None:
        return _read(file, 0o077)
    if environment.get(VARIABLE):
        return environment[VARIABLE].encode()
    if credentials and (Path(credentials) / CREDENTIAL).exists():
        return _read(Path(credentials) / CREDENTIAL, 0o037)  # systemd may let its own group read
    if ask is None:
        raise KeyUnavailable(
            "nobody is there to ask for the passphrase of the CA's keys",
            hint=f"--passphrase-file, the environment variable {VARIABLE}, or the systemd credential {CREDENTIAL}",
        )
    return ask().encode()


def _read(path: Path, forbidden: int) -> bytes:
    """The first line; of a file nobody else may read."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_MOST_BYTES)
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be read: {error.strerror}") from error
    if mode & forbidden:
        raise KeyUnavailable(f"{path}: others may read or write it (mode {mode:04o})", hint=f"chmod 0400 {path}")
    passphrase = content.split(b"\n", 1)[0].removesuffix(b"\r")
    if not passphrase:
        raise KeyUnavailable(f"{path}: its first line is empty")
    return passphrase
