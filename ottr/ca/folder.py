# SPDX-License-Identifier: Apache-2.0
"""The CA's folder: 0700, files with keys 0400, both refused when found looser."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ottr.errors import KeyUnavailable

FOLDER_MODE = 0o700
KEY_MODE = 0o400
_MOST_BYTES = 1024 * 1024


def make_folder(path: Path) -> None:
    """Make a folder only this user may enter; one that is there must be like that. Raises KeyUnavailable."""
    try:
        path.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be made: {error.strerror}") from error
    check_folder(path)


def check_folder(path: Path) -> None:
    """Raise KeyUnavailable unless a folder is this user's and nobody else may enter it."""
    with _opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        _check(path, descriptor, FOLDER_MODE)


def write_key_file(path: Path, text: str) -> None:
    """Write a new file of mode 0400, durably. Raises KeyUnavailable when there is one already."""
    with _opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, KEY_MODE) as descriptor:
        os.fchmod(descriptor, KEY_MODE)  # whatever the umask took away
        with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
            file.write(text)
        os.fsync(descriptor)
    _sync_folder(path.parent)


def replace_key_file(path: Path, text: str) -> None:
    """Put a new content in a file's place: after a crash there is the old one or the new one."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_key_file(fresh, text)
    fresh.replace(path)
    _sync_folder(path.parent)


def read_key_file(path: Path) -> str:
    """Return the text of a file of mode 0400 in a folder of mode 0700. Raises KeyUnavailable, saying what is wrong."""
    check_folder(path.parent)
    with _opened(path, os.O_RDONLY) as descriptor:
        _check(path, descriptor, KEY_MODE)
        return os.read(descriptor, _MOST_BYTES).decode("utf-8", "replace")


@contextmanager
def _opened(path: Path, flags: int, mode: int = 0) -> Iterator[int]:
    """Never through a symbolic link, which somebody else may have put there."""
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be opened: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _check(path: Path, descriptor: int, allowed: int) -> None:
    """Asked of the open file, so that it cannot be exchanged in between."""
    found = os.fstat(descriptor)
    if found.st_uid != os.geteuid():
        raise KeyUnavailable(f"{path} belongs to another user (uid {found.st_uid})")
    mode = stat.S_IMODE(found.st_mode)
    if mode & ~allowed:
        raise KeyUnavailable(
            f"{path} has mode {mode:04o}, which is looser than {allowed:04o}",
            hint=f"find out who could read it, then chmod {allowed:04o} {path}",
        )


def _sync_folder(path: Path) -> None:
    with _opened(path, os.O_RDONLY | os.O_DIRECTORY) as descriptor:
        os.fsync(descriptor)
