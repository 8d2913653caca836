# SPDX-License-Identifier: Apache-2.0
"""How an inventory is to be read: the options of Ansible's own commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class InventoryOptions:
    """What Ansible's own commands take by the same names."""

    sources: tuple[str, ...] = ()
    """``-i``: files, folders, host lists; empty: as ``ANSIBLE_INVENTORY`` or ansible.cfg says."""
    extra_vars: tuple[str, ...] = ()
    """``-e``: ``key=value``, JSON, or ``@file``."""
    vault_ids: tuple[str, ...] = ()
    vault_password_files: tuple[str, ...] = ()
    ask_vault_pass: bool = False
    timeout_s: float = 900.0

    def request(self) -> dict[str, Any]:
        """Return the options as the reader takes them."""
        return {
            "sources": self.sources,
            "extra_vars": self.extra_vars,
            "vault_ids": self.vault_ids,
            "vault_password_files": self.vault_password_files,
            "ask_vault_pass": self.ask_vault_pass,
        }

    def files(self) -> tuple[str, ...]:
        """Return the files that the options name besides the inventory."""
        named = [text[1:] for text in self.extra_vars if text.startswith("@")]
        named += [identity.rpartition("@")[2] for identity in self.vault_ids]
        return tuple(str(Path(name).absolute()) for name in (*named, *self.vault_password_files))

    def prompted(self) -> tuple[str, ...]:
        """Return the vault ids whose password is to be asked for."""
        asked = [vault_id.partition("@")[0] for vault_id in self.vault_ids if vault_id.endswith("@prompt")]
        if self.ask_vault_pass or "prompt" in self.vault_ids:
            asked.append("default")
        return tuple(asked)
