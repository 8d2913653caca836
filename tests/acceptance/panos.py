# SPDX-License-Identifier: Apache-2.0
"""Firewalls for the acceptance tests."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ottr.drivers.panos.simulator import PanosSimulator, Settings
from tests.acceptance.appliances import API_PORT, ZONE, Appliance, Left

QUICK = Settings(commit_s=0.1, restart_s=0.05, reboot_s=0.6)
OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "ssl_tls_service_profile": "management",
        "bind": "management",
        "poll_interval": 0.05,
        "busy_timeout": 0.3,
        "commit_timeout": 8,
        "restart_timeout": 5,
        "request_timeout": 10,
    }
)


def describe(address: str, settings: Settings) -> Appliance:
    return Appliance(f"{settings.hostname}.{ZONE}", "panos", address, API_PORT, settings.os_version)


def look(simulator: PanosSimulator) -> Left:
    """What is on a firewall, once its jobs have ended."""
    assert simulator.wait_until_idle()
    state = simulator.state
    with state.lock:
        configurations = (state.configuration.candidate, state.configuration.running)
        entries = (node.get("name", "") for root in configurations for node in root.iterfind(".//certificate/entry"))
        return Left(
            frozenset(name for name in entries if name.startswith("ottr-")),
            len(state.configuration.of([simulator.username])),
            simulator.sessions,
            len(simulator.exported_keys),
        )
