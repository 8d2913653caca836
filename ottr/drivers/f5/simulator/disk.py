# SPDX-License-Identifier: Apache-2.0
"""The device's file system: a folder that is the root of its shell, and is read and written here under its paths."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

CSR_FOLDER = "/config/ssl/ssl.csr"
UPLOADS = "/var/config/rest/downloads"
BULK = "/var/config/rest/bulk"
HTTPD = "/config/httpd/conf"
FILE_STORE = "/config/filestore/files_d"
_FOLDERS = (
    f"{HTTPD}/ssl.crt",
    f"{HTTPD}/ssl.key",
    "/config/big3d",
    "/config/gtm",
    "/config/ssl/ssl.crt",
    "/config/ssl/ssl.key",
    CSR_FOLDER,
    FILE_STORE,
    BULK,
    f"{UPLOADS}/tmp",  # noqa: S108 these are folders of the device
    "/shared/tmp",
    "/var/local/ucs",
    "/var/run",
    "/var/tmp",  # noqa: S108
    "/etc",
    "/root",
    "/tmp",  # noqa: S108
)
_OWN = ("config", "shared", "tmp", "var")
_MAXIMUM_LINKS = 20
_TEMPORARY = ("/tmp", "/var/run")  # noqa: S108


class Disk:
    """Files of a device. Paths are absolute and POSIX, as its administrators write them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for folder in _FOLDERS:
            (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        if not (link := root / "etc" / "httpd").is_symlink():
            link.symlink_to("/config/httpd")

    def place(self, path: str) -> Path:
        """Where a file is on this machine. Links lead nowhere outside. Raises OSError for too many of them."""
        root = str(self.root)  # each request looks up many paths, and Path objects would be most of its time
        parts, here, links = _split(path), root, 0
        while parts:
            part = parts.pop()
            if part == "..":
                here = here.rpartition("/")[0] if here != root else here
                continue
            if not os.path.islink(f"{here}/{part}"):  # noqa: PTH114
                here = f"{here}/{part}"
                continue
            links += 1
            if links > _MAXIMUM_LINKS:
                raise OSError(f"{path}: too many levels of symbolic links")
            target = os.readlink(f"{here}/{part}")  # noqa: PTH115
            if target.startswith("/"):
                here = root
            parts += _split(target)
        return Path(here)

    def read(self, path: str) -> bytes | None:
        """A file's content; None when it cannot be read."""
        try:
            return self.place(path).read_bytes()
        except OSError:
            return None

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Write a file, in place. Raises OSError."""
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch(mode=mode)
        place.chmod(mode)
        place.write_bytes(content)

    def remove(self, path: str) -> None:
        """Remove a file; harmless when it is not there."""
        self.place(path).unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """Names of a folder's files."""
        place = self.place(folder)
        return sorted(entry.name for entry in place.iterdir() if entry.is_file()) if place.is_dir() else []

    def reboot(self) -> None:
        """Lose what a reboot loses."""
        for folder in _TEMPORARY:
            for entry in self.place(folder).iterdir():
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry, ignore_errors=True)
                elif not stat.S_ISSOCK(entry.lstat().st_mode):
                    entry.unlink(missing_ok=True)

    def hash(self) -> str:
        """SHA-256 over names, modes and contents of all of the device's own files."""
        digest = sha256()
        for top in (*_OWN, "root"):
            for path in sorted((self.root / top).rglob("*")):
                with suppress(FileNotFoundError):  # scripts may be at work
                    digest.update(self._describe(path, with_folder=top != "root"))
        return digest.hexdigest()

    def _describe(self, path: Path, *, with_folder: bool) -> bytes:
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            content = str(path.readlink()).encode()
        elif stat.S_ISREG(mode):
            content = path.read_bytes()
        elif stat.S_ISDIR(mode) and with_folder:  # below /root this machine's programs may be mounted
            content = b""
        else:
            return b""
        return f"{path.relative_to(self.root)} {mode} {len(content)}\0".encode() + content

    def contents(self) -> list[bytes]:
        """What is in each of the device's own files."""
        found = []
        for top in _OWN:
            for path in (self.root / top).rglob("*"):
                with suppress(OSError):
                    if path.is_file() and not path.is_symlink():
                        found.append(path.read_bytes())
        return found


def _split(path: str) -> list[str]:
    """The parts of a path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]
