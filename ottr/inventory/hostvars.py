# SPDX-License-Identifier: Apache-2.0
"""Which files of ``host_vars/`` Ansible reads for a host, in the order in which later ones win."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

EXTENSIONS: Final = (".yml", ".yaml", ".json")


def variable_folder(source: str) -> Path:
    """Return the folder beside which a source's ``host_vars/`` is looked for."""
    path = Path(source)
    return Path(os.path.realpath(path if path.is_dir() else path.parent))


def variable_folders(sources: Sequence[str], *, working_folder: Path) -> tuple[Path, ...]:
    """Return the folders of all sources that are files or folders, later ones win; last the working folder's.

    Ansible looks beside the playbook too, and takes the working folder where there is none.
    """
    found = [variable_folder(source) for source in sources if "," not in source or Path(source).exists()]
    return tuple(dict.fromkeys([*found, Path(os.path.realpath(working_folder))]))


def find_entry(folder: Path, host: str) -> Path | None:
    """Return what stands for the host below ``host_vars/``: its folder, else the first of its files.

    Beside a folder of the host's name its files are not read.
    """
    for extension in ("", *EXTENSIONS):
        path = folder / "host_vars" / f"{host}{extension}"
        if path.exists():
            return path
    return None


def find_files(folder: Path, host: str) -> list[Path]:
    """Return the files read for the host, in the order they are read."""
    entry = find_entry(folder, host)
    if entry is None:
        return []
    return list(_walk(entry)) if entry.is_dir() else [entry]


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        # `Path.suffix` does not know the ending "." that Ansible passes over.
        name, extension = path.name, os.path.splitext(path.name)[1]  # noqa: PTH122
        if name.startswith(".") or name.endswith("~"):
            continue
        if path.is_dir() and not extension:
            found.extend(_walk(path))
        elif path.is_file() and (not extension or extension in EXTENSIONS):
            found.append(path)
    return found
