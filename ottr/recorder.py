# SPDX-License-Identifier: Apache-2.0
"""What a verified certificate leaves in the inventory."""

from __future__ import annotations

from ottr import x509
from ottr.inventory import CertificateFacts, Inventory
from ottr.model import Device


class InventoryRecorder:
    """Writes through the inventory's own ``record``."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory

    def record(self, device: Device, certificate: x509.Certificate) -> str:
        """Return a warning where nothing could be written, else nothing."""
        facts = CertificateFacts(
            expiration=certificate.not_after,
            issuer=certificate.issuer,
            serial=certificate.serial,
            sha256=certificate.sha256,
        )
        return self._inventory.record(device.name, facts).warning
