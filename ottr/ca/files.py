# SPDX-License-Identifier: Apache-2.0
"""Files of the operator: read with a limit, written whole, secret ones for this user only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from ottr.errors import AuthorityError

_MOST_BYTES = 256 * 1024 * 1024


def read_file(path: Path) -> bytes:
    """Return what is in a file. Raises AuthorityError."""
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise AuthorityError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _MOST_BYTES:
        raise AuthorityError(f"{path} is too large")
    return content


def write_file(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Put a file in place, whole or not at all: 0600 when it is secret, else 0644. Raises AuthorityError."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise AuthorityError(f"{path} cannot be written: {error.strerror}") from error
