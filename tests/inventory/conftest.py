# SPDX-License-Identifier: Apache-2.0
"""Inventories as files, read by the real Ansible."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ottr.inventory.ansible import AnsibleInventory
from ottr.inventory.cache import InventoryCache
from ottr.inventory.options import InventoryOptions

PROGRAMS = Path(sys.executable).parent

Write = Callable[[Mapping[str, str]], Path]
Read = Callable[..., AnsibleInventory]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and home, and none of the operator's Ansible settings."""
    for name in [name for name in os.environ if name.startswith("ANSIBLE_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def write(place: Path) -> Write:
    """Write files below the working folder."""

    def write_files(files: Mapping[str, str]) -> Path:
        for name, text in files.items():
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return place

    return write_files


@pytest.fixture
def read() -> Iterator[Read]:
    """Open an inventory; its child ends with the test."""
    opened: list[AnsibleInventory] = []

    def open_inventory(*sources: str, cache: InventoryCache | None = None, ask: Any = None, **options: Any) -> Any:
        inventory = AnsibleInventory(InventoryOptions(sources=sources, **options), cache=cache, ask=ask)
        opened.append(inventory)
        return inventory

    yield open_inventory
    for inventory in opened:
        inventory.close()


def ansible_host(host: str, *sources: str) -> dict[str, Any]:
    """What Ansible itself says of a host."""
    arguments = [argument for source in sources for argument in ("-i", source)]
    command = [PROGRAMS / "ansible-inventory", *arguments, "--host", host]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def encrypt(path: Path, password_file: Path) -> None:
    """Encrypt a file in place."""
    command = [PROGRAMS / "ansible-vault", "encrypt", "--vault-password-file", password_file, path]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def encrypt_string(text: str, password_file: Path, *, vault_id: str = "") -> str:
    """An inline vaulted value, as YAML."""
    identity = ["--vault-id", f"{vault_id}@{password_file}"] if vault_id else ["--vault-password-file", password_file]
    command = [PROGRAMS / "ansible-vault", "encrypt_string", *identity, text]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    lines = done.stdout.strip().splitlines()
    return "\n".join([lines[0], *("        " + line.strip() for line in lines[1:])])
