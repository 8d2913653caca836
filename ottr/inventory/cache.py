# SPDX-License-Identifier: Apache-2.0
"""What the reader said, kept as long as no file it came from changes. Holds no secret and no vaulted value."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

FORM: Final = 1
"""Counted up when the form of the file or the meaning of its content changes."""

# Two changes closer together than a file system's clock ticks leave the same times.
_CLOCK_SLACK_NS: Final = 50_000_000


class InventoryCache:
    """One file (mode 600) for each way of calling; losing it costs time and nothing else."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self, key: str) -> dict[str, Any] | None:
        """Return what was kept, if every file is as it was then; None otherwise."""
        try:
            kept: dict[str, Any] = json.loads(self._path(key).read_bytes())
            fresh = kept["key"] == key and kept["stats"] == take_stats(kept["files"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return kept["content"] if fresh else None

    def store(self, key: str, files: Sequence[str], content: Mapping[str, Any], *, started_ns: int) -> None:
        """Keep the content, unless a file changed since the reading began. Never raises."""
        stats = take_stats(files)
        if any(stats[at] > started_ns - _CLOCK_SLACK_NS for at in range(0, len(stats), 4)):
            return
        document = {"key": key, "files": list(files), "stats": stats, "content": content}
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(self._path(key), json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())

    def amend(self, key: str, recorded: Mapping[str, tuple[Mapping[str, Any], Sequence[str]]]) -> None:
        """Take over variables that Ottr itself wrote for hosts, if nothing else changed since. Never raises.

        ``recorded`` has, by host, the variables and the files they were written to.
        """
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            document = json.loads(self._path(key).read_bytes())
            written = {path for _, files in recorded.values() for path in files}
            files = _amend_files(document["files"], document["stats"], written)
            if document["key"] != key or files is None:
                return
            for row in document["content"]["rows"]:
                if row[0] in recorded:
                    row[1].update(recorded[row[0]][0])
            document.update(files=files, stats=take_stats(files))
            self._write(self._path(key), json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())

    def _path(self, key: str) -> Path:
        return self._folder / f"inventory-{key[:32]}.json"

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".inventory-")  # mode 600
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise


def _amend_files(files: Sequence[str], stats: Sequence[int], written: set[str]) -> list[str] | None:
    """Return the files with those written; None when anything else changed.

    Writing a file changes the folders above it: their content is compared, name by name.
    """
    known, touched, new = set(files), set(written), set[str]()
    for name in written:
        line = [name, *_folders_above(name)]
        looked_at = [at for at, path in enumerate(line) if path in known]
        touched.update(line[at] for at in looked_at)
        new.update(path for path in line[: looked_at[-1] if looked_at else 0] if path not in known)
    found = take_stats(files)
    for at, path in enumerate(files):
        if path not in touched and found[4 * at : 4 * at + 4] != stats[4 * at : 4 * at + 4]:
            return None
    names = known | new
    if any(_list(folder) - names for folder in (touched | new) - written):
        return None
    return sorted(names)


def _folders_above(path: str) -> list[str]:
    """All of them, the nearest first. Plain text: `pathlib` would take half of the time that a run's end takes."""
    found = []
    while (folder := os.path.dirname(path)) != path:  # noqa: PTH120
        found.append(folder)
        path = folder
    return found


def _list(folder: str) -> set[str]:
    """What is in a folder and not hidden; nothing for what is none."""
    try:
        return {f"{folder}/{name}" for name in os.listdir(folder) if not name.startswith(".")}  # noqa: PTH208
    except (FileNotFoundError, NotADirectoryError):
        return set()


def take_stats(files: Sequence[str]) -> list[int]:
    """Change time, modification time, size and inode of each file, one after the other; zeros where there is none."""
    stats: list[int] = []
    add, stat = stats.extend, os.stat
    for path in files:
        try:
            found = stat(path)
        except OSError:
            add((0, 0, 0, 0))
        else:
            add((found.st_ctime_ns, found.st_mtime_ns, found.st_size, found.st_ino))
    return stats


def build_key(request: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """Name everything besides files that the answer depends on: the call, the folder, Ansible and its settings."""
    settings = {name: value for name, value in environment.items() if name.startswith("ANSIBLE_")}
    spec = importlib.util.find_spec("ansible")
    release = Path(spec.origin).with_name("release.py") if spec is not None and spec.origin else Path("ansible")
    parts = [FORM, request, str(Path.cwd()), settings, sys.executable, str(release), take_stats([str(release)])]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def configuration_files(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where Ansible looks for its settings; the appearance of one changes what the inventory says."""
    home = environment.get("HOME") or str(Path.home())
    named = [environment["ANSIBLE_CONFIG"]] if environment.get("ANSIBLE_CONFIG") else []
    return (*named, str(Path.cwd() / "ansible.cfg"), str(Path(home) / ".ansible.cfg"), "/etc/ansible/ansible.cfg")
