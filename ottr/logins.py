# SPDX-License-Identifier: Apache-2.0
"""Credentials of the devices of the current batch: of the inventory first, then of ottr.yaml; never longer kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ottr.errors import CredentialsError
from ottr.files.credentials import complete_credentials
from ottr.inventory import HostSecrets, Inventory, InventoryHost
from ottr.inventory.credentials import build_credentials
from ottr.model import Credentials, Device, Secret
from ottr.settings import CredentialSource


class Logins:
    """Looks credentials up for one batch at a time. Devices may be asked for by many threads."""

    def __init__(
        self,
        inventory: Inventory,
        sources: Sequence[CredentialSource],
        known_hosts: tuple[Path, ...],
        environment: Mapping[str, str],
        learn: Callable[[object], None] | None = None,
    ) -> None:
        """``learn`` is told every secret that is found, so that none gets into a log line."""
        self._inventory = inventory
        self._sources = sources
        self._known_hosts = known_hosts
        self._environment = environment
        self._learn = learn or _forget
        self._batch: Mapping[str, tuple[InventoryHost, HostSecrets]] = {}
        self._kept: dict[str, dict[str, Secret]] = {}

    def prepare(self, hosts: Sequence[InventoryHost]) -> None:
        """Look up the secrets of these hosts and forget those of the batch before. Raises InventoryError."""
        secrets = self._inventory.secrets([host for host in hosts if host.secret_names])
        self._learn(secrets)
        self._batch = {host.name: (host, secrets.get(host.name, HostSecrets())) for host in hosts}
        self._kept = {host.name: {} for host in hosts}

    def of(self, device: Device) -> Credentials:
        """How to log in to a device of the batch. Raises CredentialsError."""
        if device.name not in self._batch:
            raise CredentialsError(f"{device.name}: no login was looked up for it")
        host, secrets = self._batch[device.name]
        kept = self._kept[device.name]
        credentials = replace(build_credentials(host, secrets), known_hosts=self._known_hosts, kept=kept)
        completed = complete_credentials(credentials, device, self._sources, self._environment)
        self._learn(completed)
        return completed


def _forget(secrets: object) -> None:
    """Nobody writes log lines."""
