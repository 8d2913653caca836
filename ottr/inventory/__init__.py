# SPDX-License-Identifier: Apache-2.0
"""The seam towards an inventory: which devices there are, how to log in to them, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from ottr.model import Secret


@dataclass(frozen=True, slots=True)
class InventoryHost:
    """One host as the inventory has it, before anything is made of it."""

    name: str
    groups: frozenset[str] = frozenset()
    variables: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """The variables Ottr uses, rendered, without secrets."""
    secret_names: tuple[str, ...] = ()
    """Secret variables that are set for the host; their values come from ``Inventory.secrets``."""
    problems: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Variables that could not be rendered, each with the reason."""


@dataclass(frozen=True, slots=True)
class HostSecrets:
    """The secret variables of one host. Lives as long as the batch it was looked up for."""

    values: Mapping[str, Secret] = field(default_factory=dict, hash=False)
    problems: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Variables that could not be read, each with the reason; never with a part of the value."""


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What a verified rotation writes into the inventory."""

    expiration: datetime
    """Aware UTC."""
    issuer: str
    """RFC 4514."""
    serial: str
    """Lower-case hex."""
    sha256: str
    """Of the DER, lower-case hex."""


@dataclass(frozen=True, slots=True)
class RecordResult:
    """Where facts were written, or why they were not."""

    files: tuple[str, ...] = ()
    """None when nothing could be written."""
    warning: str = ""

    @property
    def where(self) -> str:
        """The files in words."""
        return ", ".join(self.files)


class Inventory(Protocol):
    """Where devices come from. Raises InventoryError."""

    def hosts(self, pattern: str = "all", limit: str = "") -> Sequence[InventoryHost]:
        """Return the hosts that Ansible's pattern and limit mean, in the inventory's order."""

    def secrets(self, hosts: Sequence[InventoryHost]) -> Mapping[str, HostSecrets]:
        """Look up the secret variables of these hosts, by name; meant for the current batch only."""

    def record(self, host: str, facts: CertificateFacts) -> RecordResult:
        """Write the facts of a verified certificate where the inventory keeps the host's variables."""
