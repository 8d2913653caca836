# SPDX-License-Identifier: Apache-2.0
"""A program that speaks the XML API of PAN-OS and refuses what the devices refuse. Shares no code with the driver."""

from __future__ import annotations

from ottr.drivers.panos.simulator.device import PanosSimulator
from ottr.drivers.panos.simulator.settings import SUPERUSER, Admin, Settings, Unconfirmed

__all__ = ["SUPERUSER", "Admin", "PanosSimulator", "Settings", "Unconfirmed"]
