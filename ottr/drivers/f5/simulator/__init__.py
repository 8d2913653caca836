# SPDX-License-Identifier: Apache-2.0
"""A program that speaks iControl REST and refuses what the devices refuse. Shares no code with the driver."""

from __future__ import annotations

from ottr.drivers.f5.simulator.device import F5Simulator
from ottr.drivers.f5.simulator.settings import Profile, Settings, Unconfirmed, User, Virtual

__all__ = ["F5Simulator", "Profile", "Settings", "Unconfirmed", "User", "Virtual"]
